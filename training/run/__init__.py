"""One training and what it leaves: the loop, the journal a person watches, the run folder."""
