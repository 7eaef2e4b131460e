"""The subcommands of `oddglyph`, one file each."""
