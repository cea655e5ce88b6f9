"""The Answer page."""
