"""What decides a detector's score: distances to normal images, and a classifier of synthesised outliers."""
