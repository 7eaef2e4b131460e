"""The format of published models and how they run. With errors, images and atomic, all that training may import."""
