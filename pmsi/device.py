"""Where to compute: the device and the number of threads that a config asks for."""

import torch

from pmsi.config import Config
from pmsi.errors import ConfigError


def prepare_device(config: Config) -> torch.device:
    """Return the device of a config, and give torch the number of CPU threads that it asks for."""
    if config.threads:
        torch.set_num_threads(config.threads)
    return find_device(config.device)


def find_device(name: str = "auto") -> torch.device:
    """Return the device for "auto" (a GPU where there is one), "cpu" or "cuda"; a GPU that is not there is an error."""
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise ConfigError("device = 'cuda', but torch finds no GPU here. Choose auto or cpu.")
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")
