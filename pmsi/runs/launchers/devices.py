"""The devices of this machine on which runs can be placed: the CPU and each GPU. Does not import torch.

A GPU is named as in ``CUDA_VISIBLE_DEVICES``; a worker that sees only that name computes on it.
"""

import functools
import os
import re
import shutil
import subprocess

from pmsi.config import Config

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable of CUDA with the GPUs that a process may use."""

CPU = "cpu"

ANSWER_S = 20.0
"""Seconds that nvidia-smi may take."""


def gpus() -> tuple[str, ...]:
    """Return the names of the GPUs that this process may use."""
    if (visible := os.environ.get(VISIBLE)) is None:
        return _installed()
    names = [name.strip() for name in visible.split(",")]
    end = next((number for number, name in enumerate(names) if name in ("", "-1")), len(names))  # as CUDA reads it
    return tuple(dict.fromkeys(names[:end]))


@functools.cache
def _installed() -> tuple[str, ...]:
    """Return the GPUs that the driver lists, or their MIG instances where a GPU is partitioned."""
    if shutil.which("nvidia-smi") is None:
        return ()
    try:
        command = ["nvidia-smi", "-L"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(re.findall(r"UUID: (MIG-[^)\s]+)", answer) or re.findall(r"UUID: (GPU-[^)\s]+)", answer))


def wanted(config: Config) -> tuple[tuple[str, ...], int]:
    """Return the devices on which a run of ``config`` can be placed, and how many of them it needs.

    Several processes on the CPU count as one device. A run that asks for more GPUs than there are gets all of them; its
    worker then reports the error.
    """
    found = () if config.device == CPU else gpus()
    return (found, min(getattr(config, "devices", 1), len(found))) if found else ((CPU,), 1)
