"""Weights from a file: what the file is, which tensors are in it, and where the names of a network fit."""
