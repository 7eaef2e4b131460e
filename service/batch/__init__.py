"""The pipeline of `oddglyph score`: sources of images, their scores, and where the rows go."""
