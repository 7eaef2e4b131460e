"""From a finished run to models/<name>/: proof, export and measurement."""
