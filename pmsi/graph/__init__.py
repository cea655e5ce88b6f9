"""A trained model as one graph of plain operators, forward and backward, for ONNX Runtime.

``recording`` traces it, ``onnx_file`` writes and checks it, ``onnx_model`` opens it. All need optional packages.
"""

import threading

MODEL_FILE = ".onnx"
"""Ending of exported models that stand where a run does."""


def is_model_file(word: str) -> bool:
    """Return whether the word for a model is an exported file; else it is a run."""
    return word.lower().endswith(MODEL_FILE)


TRACING = threading.Lock()
"""Held while torch traces a model: two threads at once fail."""
