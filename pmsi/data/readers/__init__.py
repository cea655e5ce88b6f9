"""Readers: one file a layout of files on the disk."""
