"""Tables that the commands print, as rows."""

import csv
import io


def in_csv(text):
    """Return the rows of a CSV text, each a dictionary by column."""
    return list(csv.DictReader(io.StringIO(text)))
