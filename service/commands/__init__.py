"""The subcommands of `oddglyph`, one a file: each says its options, calls what does the work, and tells the result."""
