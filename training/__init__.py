"""Training: fits, measures and publishes the models that `service` serves."""
