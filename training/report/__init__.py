"""Published models on one page."""
