"""Where to compute, and in which precision: what a config asks for, as torch has it."""

import ctypes
import sys
from contextlib import AbstractContextManager

import torch

from pmsi.base.errors import ConfigError
from pmsi.config import Config
from pmsi.runs import ranks

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h

PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What convolutions and matrix products compute in; parameters and losses are float32 always."""


def prepare_device(config: Config) -> torch.device:
    """Make this process ready to work on a config, and return its device: CPU threads, and memory that is kept."""
    if config.threads:
        torch.set_num_threads(config.threads)
    device = find_device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    return device


def keep_freed_memory() -> None:
    """Let the C library keep what is freed for what is asked for next. With glibc only; elsewhere nothing changes.

    It hands blocks of more than 32 MB back to the system at once, and activations are larger: every step would get its
    memory anew, page by page. For a worker, which computes and ends; not for a server that shares its machine.
    """
    if sys.platform.startswith("linux") and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, -1)


def find_device(name: str = "auto") -> torch.device:
    """Return the device for "auto" (a GPU where there is one), "cpu" or "cuda"; a GPU that is not there is an error.

    Among several processes of one machine, each has the GPU of its own number.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cuda" and not count:
        raise ConfigError("device = 'cuda', but torch finds no GPU here. Choose auto or cpu.")
    if not count or name == "cpu":
        return torch.device("cpu")
    if ranks.world_size() == 1:
        return torch.device("cuda")
    if ranks.local_rank() >= count:
        raise ConfigError(f"Process {ranks.local_rank() + 1} of this machine has no GPU: there are {count}.")
    device = torch.device("cuda", ranks.local_rank())
    torch.cuda.set_device(device)
    return device


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Return the context in which a forward pass computes in ``precision``."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)


def gradient_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """Return what keeps float16's gradients from vanishing; for the other precisions it does nothing."""
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")
