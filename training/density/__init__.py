"""What decides a detector's score: distances to normal images and a network that knows made outliers."""
