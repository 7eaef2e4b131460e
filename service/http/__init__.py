"""The HTTP interface: everything that is mounted at /."""
