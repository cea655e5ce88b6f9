"""Readers of data sets: one file for each layout of files on the disk."""
