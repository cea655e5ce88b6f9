"""The Stages page."""
