"""A trained model as one graph of plain operators, forward and backward, for ONNX Runtime.

``recording`` traces it, ``onnx_file`` writes and checks it, ``onnx_model`` opens it. All need optional packages.
"""

import threading

TRACING = threading.Lock()
"""Held while torch traces a model: two threads at once fail."""
