"""Measurements, side by side with the best peers known: README.md lists them."""

import pmsi  # noqa: F401  (before torch, as everywhere: it decides how long OpenMP's threads wait on their cores)
