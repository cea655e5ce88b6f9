"""The folded copy of a model under its former name; `pmsi.folding` makes it."""

from pmsi.folding import folded

__all__ = ["folded"]
