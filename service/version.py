"""The version of oddglyph: what the package, the command and /docs.json say."""

VERSION = "0.1.0"
