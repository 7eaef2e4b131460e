"""What a published model is and how it runs: the only part of the service that training may import."""
