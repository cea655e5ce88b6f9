"""The maps page."""
