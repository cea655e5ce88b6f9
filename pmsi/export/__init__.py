"""Export of a trained model as one file."""

import threading

TRACING = threading.Lock()
"""Held while torch.export traces a model: two threads at once fail."""
