"""Serving: anomaly scores of published models over HTTP and on the command line. Needs neither torch nor training."""
