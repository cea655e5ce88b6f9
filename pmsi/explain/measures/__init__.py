"""Measures of class activation maps: of one map, and of a run on all its test images."""
