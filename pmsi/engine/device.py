"""The torch device and precision of a config."""

import contextlib
import ctypes
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from pmsi.base.errors import ConfigError, Fix
from pmsi.base.text import plural
from pmsi.config import Config
from pmsi.runs import ranks

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h

PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""The dtype of convolutions and matrix products; None is float32. Parameters and losses are always float32."""


def prepare_device(config: Config) -> torch.device:
    """Set this process's CPU threads and memory allocation for a config, and return the device to compute on."""
    if config.threads:
        torch.set_num_threads(config.threads)
    device = find_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    return device


def machine_memory() -> int:
    """Return the bytes of memory that processes here may use: the machine's, or the container's; 0 if unknown."""
    found = []
    with contextlib.suppress(ValueError, OSError, AttributeError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(ValueError, OSError):  # no limit is the word max
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return min(found, default=0)


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for later allocations. Does nothing with other C libraries.

    By default glibc returns blocks of more than 32 MB to the system at once. Activations are larger, so every step
    would map its memory anew, page by page. For a worker, which computes and ends; not for a server that shares its
    machine.
    """
    if sys.platform.startswith("linux") and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, -1)


def check_device(config: Config) -> None:
    """Raise ConfigError if a config asks for more GPUs than this machine has."""
    count, wanted = _gpus(), ranks.wanted(config)
    if config.device == "cuda":
        _require_gpu(count)
    if count and config.device != "cpu" and wanted > count:
        raise ConfigError(
            f"devices = {wanted}, and torch finds {plural(count, 'GPU')} here. Lower devices, or choose cpu.",
            fixes=[Fix(f"Take {count}", {"devices": count})],
            final=False,
        )


def _gpus() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _require_gpu(count: int) -> None:
    if not count:
        raise ConfigError(
            "device = 'cuda', but torch finds no GPU here. Choose auto or cpu.",
            fixes=[Fix("Compute on what there is", {"device": "auto"})],
            final=False,
        )


def find_device(name: str = "auto") -> torch.device:
    """Return the device for "auto" (a GPU if there is one), "cpu" or "cuda"; raises ConfigError if there is no GPU.

    With several processes on one machine, each gets the GPU of its local rank.
    """
    count = _gpus()
    if name == "cuda":
        _require_gpu(count)
    if not count or name == "cpu":
        return torch.device("cpu")
    if ranks.world_size() == 1:
        return torch.device("cuda")
    if ranks.local_rank() >= count:
        raise ConfigError(
            f"Process {ranks.local_rank() + 1} of this machine has no GPU: there are {count}. Lower devices.",
            final=False,
        )
    device = torch.device("cuda", ranks.local_rank())
    torch.cuda.set_device(device)
    return device


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Return the context in which a forward pass computes in ``precision``."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)


def gradient_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """Return the gradient scaler of float16; for the other precisions it is disabled."""
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")
