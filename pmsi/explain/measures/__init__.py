"""What maps are worth: numbers of one map, and of a run on all its test images."""
