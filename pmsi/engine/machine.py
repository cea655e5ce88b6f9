"""What a config needs of the machine that is to work on it, checked before a run is made: a GPU, a compiler, memory
that processes share."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from pmsi.base.errors import ConfigError, Fix
from pmsi.base.text import size
from pmsi.config import Config
from pmsi.engine.device import check_device

SHARED = Path("/dev/shm")
"""Where the processes that read images hand them over, on Linux."""


def check_machine(config: Config) -> None:
    """Raise ConfigError if a run of ``config`` could not be worked on by this machine; another one may well do it."""
    for check in CHECKS:
        check(config)


def _check_compiler(config: Config) -> None:
    """Raise ConfigError where torch.compile is asked for and would find no compiler."""
    if not getattr(config, "compile", False):
        return
    usual = "clang++" if sys.platform == "darwin" else "g++"
    compiler = os.environ.get("CXX", usual)
    if shutil.which(compiler) is None:
        raise ConfigError(
            f"compile = True: torch.compile needs a C++ compiler, and {compiler} is not installed here. Install it (on "
            f"Debian, apt install {usual}), or leave compile out.",
            fixes=[Fix("Do not compile", {"compile": False})],
            final=False,
        )


def _check_shared_memory(config: Config) -> None:
    """Raise ConfigError where not even one batch of images could be handed over."""
    side, batch, workers = (getattr(config, name, 0) for name in ("image_size", "batch_size", "workers"))
    if not (workers and side and batch and SHARED.is_dir()):
        return
    needed, free = 3 * side**2 * batch // getattr(config, "devices", 1), shutil.disk_usage(SHARED).free
    if needed > free:
        raise ConfigError(
            f"workers = {workers}: the processes that read images hand them over in {SHARED}, which has {size(free)} "
            f"free, and one batch takes {size(needed)}. Set workers to 0, or make {SHARED} larger (docker run "
            "--shm-size=2g).",
            fixes=[Fix("Read images in the worker itself", {"workers": 0})],
            final=False,
        )


CHECKS: tuple[Callable[[Config], None], ...] = (check_device, _check_compiler, _check_shared_memory)
