"""torchvision, imported so that it also loads beside a CPU build of torch. Import it from here only.

A torchvision built for CUDA cannot load its compiled part beside a CPU build of torch, and ``import torchvision`` fails
because two operators are missing. This module declares their schemas first; nothing calls them. Where the compiled part
loads, this module only imports torchvision. (torchvision's JPEG decoder is missing too in that case: Pillow decodes all
images.)
"""

import ctypes
import importlib.machinery
import importlib.util
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []
"""Kept alive: a library's schemas disappear with it."""


def _compiled_part_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")
    for folder in spec.submodule_search_locations or () if spec else ():
        for library in Path(folder).glob("_C*"):
            if library.name.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)):
                try:
                    ctypes.CDLL(str(library))
                except OSError:
                    return False
                return True
    return False


def _declare_missing_operators() -> None:
    if hasattr(torch.ops.torchvision, "nms") or _compiled_part_loads():
        return
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _declared.append(library)


_declare_missing_operators()

import torchvision  # only after the operators exist
from torchvision import models, tv_tensors
from torchvision.transforms import functional, v2

__all__ = ["functional", "models", "torchvision", "tv_tensors", "v2"]
