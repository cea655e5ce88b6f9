"""The mosaic page."""
