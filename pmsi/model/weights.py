"""Weights from a file, read without executing anything in it."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from pmsi.base.errors import CheckpointError


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a safetensors file or a torch file, without executing code in it.

    A torch file is a state dict or has one under "state_dict" or "model"; the prefix "module." is removed from names.
    Raises CheckpointError if there are no weights, or invalid ones such as values that are not finite.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no weights file at {path}.")
    try:
        if path.suffix == ".safetensors":
            state: Any = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is no weights file, or holds more than weights, and opening it could run its code; it was not "
            "opened. Save the state dict alone (torch.save(model.state_dict(), …) or safetensors)."
        ) from error
    except Exception as error:  # bytes that are no weights make torch's reader raise almost anything
        raise CheckpointError(f"{path} is damaged or no weights file: {type(error).__name__}: {error}.") from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(map(_is_named_tensor, state.items())):
        raise CheckpointError(f"{path} is not a state dict: expected tensors by name.")
    for name, value in state.items():
        if reason := _fault(name, value, state):
            raise CheckpointError(f"{path}: {name} {reason}. Use another file.")
    return {name.removeprefix("module."): value for name, value in state.items()}


def _fault(name: str, value: Tensor, state: Mapping[str, Tensor]) -> str | None:
    """Return what is wrong with a tensor of a state dict, or None."""
    if name.startswith("module.") and name.removeprefix("module.") in state:
        return f"stands beside {name.removeprefix('module.')}, and only one of them can be meant"
    if name.endswith("num_batches_tracked"):
        return None  # BatchNorm's count, the one whole number in a network's state
    if not value.is_floating_point():
        return f"is {str(value.dtype).removeprefix('torch.')}, where floating-point numbers were expected"
    if not value.isfinite().all():
        return "has values that are not finite"
    if name.endswith("running_var") and bool((value < 0).any()):
        return "is a variance, and has values below 0"
    return None


def _is_named_tensor(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)
