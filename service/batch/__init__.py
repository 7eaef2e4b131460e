"""The pipeline of `oddglyph score`: sources of images -> scores -> files of rows."""
