"""Detection compared: protocols, baselines and corruptions."""
