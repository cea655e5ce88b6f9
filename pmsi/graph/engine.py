"""The graph of a model as the engine that answers for it on a CPU; made once for its weights, and kept in the cache.

Imports optional packages only where a graph is there, or is worth making.
"""

import contextlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pmsi.base.errors import ExportError
from pmsi.graph import kept
from pmsi.model import Recognizer

if TYPE_CHECKING:
    from pmsi.graph.onnx_model import OnnxModel

LONG = 500_000_000
"""Pixels that a model has to look at for a graph to be worth the ten seconds or more that it takes to make."""

ENGINE = "PMSI_ENGINE"
"""Environment: torch where ONNX Runtime is not to be used, though it is installed."""

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def may_have_graph(model: Recognizer) -> bool:
    """Return whether a graph could answer for a model here: it is on a CPU, the packages are there and are wanted."""
    wanted = os.environ.get(ENGINE) != "torch" and next(model.parameters()).device.type == "cpu"
    return wanted and all(map(find_spec, PACKAGES))


def open_file(path: Path, threads: int = 0) -> "OnnxModel":
    """Return the model of an exported file; ExportError if it cannot be opened or packages are missing."""
    try:
        from pmsi.graph.onnx_model import OnnxModel  # optional packages
    except ImportError as error:
        raise ExportError(f"To open {path} the package {error.name} is needed: pip install 'pmsi[export]'.") from error
    return OnnxModel.load(path, threads)


def graph_of(model: Recognizer, sizes: tuple[int, int], images: int = 0, threads: int = 0) -> "OnnxModel | None":
    """Return a model's graph where it can answer for it: on a CPU, kept or worth making for so many ``images``.

    ``sizes`` are the sides of the resized image and of its crop. A graph is used only if its answers and maps were
    compared with the model's (`pmsi.graph.onnx_file.check`). ``threads`` are those of one answer, by default torch's.
    """
    if not may_have_graph(model):
        return None
    with contextlib.suppress(ExportError, ImportError):  # no form in ONNX, or packages that are missing
        data = kept.find(kept.key_of(model, sizes))
        if data is None and images * sizes[1] ** 2 >= LONG:
            from pmsi.graph.onnx_file import graph_bytes  # optional packages

            data = graph_bytes(model, sizes)
        if data is not None:
            from pmsi.graph.onnx_model import OnnxModel  # as above

            return OnnxModel(data, threads=threads or torch.get_num_threads())
    return None
