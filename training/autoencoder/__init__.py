"""The shared-encoder adversarial autoencoder: networks, objectives and learner."""
