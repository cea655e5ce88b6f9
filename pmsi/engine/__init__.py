"""Device and precision, checkpoints, costs."""
