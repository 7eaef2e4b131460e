"""Serving: anomaly scores of published models over HTTP and on the command line. Imports neither torch nor training."""
