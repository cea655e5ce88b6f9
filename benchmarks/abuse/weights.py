"""Hostile weights files, and the check of a training run."""

import random
import struct
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save

from benchmarks.abuse.kind import MB, Kind
from benchmarks.abuse.mutation import mutated
from pmsi.base.vision import models
from pmsi.model.backbones import BACKBONES, check_weights


@cache
def _whole() -> dict[str, torch.Tensor]:
    return models.mobilenet_v2(weights=None).state_dict()


def weights(draw: random.Random, folder: Path) -> Path:
    """Write a weights file: of safetensors or torch, mutated, or with odd names, shapes and numbers."""
    state = dict(_whole())
    name = draw.choice(list(state))
    if draw.random() < 0.2:
        del state[name]
    match draw.randrange(6):
        case 0:
            state[name] = _whole()[name] * float("nan")
        case 1:
            state[f"module.{name}"] = _whole()[name] + 1
        case 2:
            state[name] = torch.zeros(draw.choice((1, 3, 10**6)), dtype=draw.choice((torch.int64, torch.complex64)))
        case 3:
            state["x" * draw.choice((1, 10**5))] = torch.zeros(1)
        case 4:
            state |= {f"{name}.{i}": torch.zeros(1) for i in range(draw.choice((10, 50_000)))}
    path = folder / draw.choice(("weights.safetensors", "weights.pth"))
    if path.suffix == ".pth":
        torch.save(state, path)
        data = path.read_bytes()
    else:
        data = save({key: value.contiguous() for key, value in state.items()})
    if draw.random() < 0.15 and path.suffix != ".pth":
        data = struct.pack("<Q", draw.choice((0, 2**31, 2**63))) + data[8:]
    path.write_bytes(mutated(draw, data) if draw.random() < 0.5 else data)
    return path


WEIGHTS = Kind(200, weights, lambda path: check_weights(BACKBONES["mobilenet_v2"], str(path)), 300 * MB, 5)
