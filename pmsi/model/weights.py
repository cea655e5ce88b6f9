"""Weights from a file, read without executing anything in it."""

import pickle
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from pmsi.base.errors import CheckpointError


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return a state dict from a safetensors file or a torch file, read without executing anything in it.

    A torch file may be a state dict or hold one under "state_dict" or "model"; "module." before every name is dropped.
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
    return {name.removeprefix("module."): value for name, value in state.items()}


def _is_named_tensor(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)
