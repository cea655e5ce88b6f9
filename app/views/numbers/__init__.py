"""The Numbers page: what a run is worth beyond its accuracy."""
