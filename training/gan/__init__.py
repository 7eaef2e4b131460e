"""The GANs on CIFAR-10: networks, objectives, augmentation and learner."""
