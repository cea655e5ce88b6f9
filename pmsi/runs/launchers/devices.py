"""Which devices of this machine runs can be given: the CPU, and each GPU by its name. No torch here.

A GPU's name is what ``CUDA_VISIBLE_DEVICES`` calls it: a worker that sees only that name computes there. This module
does not know who works where.
"""

import functools
import os
import re
import shutil
import subprocess

from pmsi.config import Config

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment: the GPUs that a process may use, in CUDA's own words."""

CPU = "cpu"

ANSWER_S = 20.0
"""How long a question to the driver may take."""


def gpus() -> tuple[str, ...]:
    """Return the names of the GPUs that this process may use; none where nobody knows of any."""
    if (visible := os.environ.get(VISIBLE)) is None:
        return _installed()
    names = [name.strip() for name in visible.split(",")]
    end = next((number for number, name in enumerate(names) if name in ("", "-1")), len(names))  # as CUDA reads it
    return tuple(dict.fromkeys(names[:end]))


@functools.cache
def _installed() -> tuple[str, ...]:
    """Ask the driver, once: a machine's GPUs stay. Where one is cut into parts, the parts are what can be used."""
    if shutil.which("nvidia-smi") is None:
        return ()
    try:
        command = ["nvidia-smi", "-L"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(re.findall(r"UUID: (MIG-[^)\s]+)", answer) or re.findall(r"UUID: (GPU-[^)\s]+)", answer))


def wanted(config: Config) -> tuple[tuple[str, ...], int]:
    """Return the devices on which a run of ``config`` can be worked on, and how many of them it takes.

    Processes that share a batch on the CPU share it in one place. A run that asks for more GPUs than there are gets
    all of them, and says itself what is wrong.
    """
    found = () if config.device == CPU else gpus()
    return (found, min(getattr(config, "devices", 1), len(found))) if found else ((CPU,), 1)
