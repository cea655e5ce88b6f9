"""The paper's optimizer (section IV-A): SGD with one learning rate for pre-trained layers and one for new ones, both on
a cosine schedule or that of the released code, and a backbone that is frozen in the first epochs.

Where training starts from scratch no layer is pre-trained: every layer is new, and nothing is frozen.
"""

import math
from collections.abc import Callable

import torch

from pmsi.config import TrainConfig
from pmsi.model.recognizer import Recognizer


def make_optimizer(model: Recognizer, config: TrainConfig) -> torch.optim.SGD:
    """Return SGD over two groups of parameters, the backbone's first; each group keeps its ``initial_lr``.

    Fused: one pass over memory for each parameter, and on a GPU one kernel for all of them.
    """
    rates = (config.lr_pretrained if is_pretrained(config) else config.lr_new, config.lr_new)
    groups = [
        {"params": parameters, "lr": rate, "initial_lr": rate}
        for parameters, rate in zip((list(model.backbone.parameters()), model.new_parameters()), rates, strict=True)
    ]
    optimizer = torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay, fused=True)
    if config.momentum:
        # The fused kernel takes all buffers of a step or none, and each phase meets heads that have had no step yet.
        # 0 is what a first step starts from: momentum · 0 + gradient.
        for parameter in model.parameters():
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def is_pretrained(config: TrainConfig) -> bool:
    """Return whether the backbone starts from trained weights."""
    return config.weights != "none"


def frozen(config: TrainConfig, epoch: int) -> bool:
    """Return whether the backbone gets no gradients in this epoch (from 0); its BatchNorm statistics keep updating."""
    return is_pretrained(config) and epoch < config.frozen_epochs


def cosine(done: float) -> float:
    """Return the factor of the learning rate when the share ``done`` (0–1) of training is over: from 1 down to 0."""
    return (1 + math.cos(math.pi * done)) / 2


SCHEDULES: dict[str, Callable[[float, int], float]] = {
    "cosine": lambda done, batch_size: cosine(done),
    # The period counts images and the steps count batches: of 32 images, the rate ends at 99.8 % of its start.
    "released": lambda done, batch_size: cosine(done / batch_size),
}
"""Functions (share of training done, 0–1; batch size) → factor of the learning rate."""


def set_learning_rates(optimizer: torch.optim.Optimizer, done: float, config: TrainConfig) -> None:
    """Set the learning rate of every group by the config's schedule, for the share ``done`` (0–1) of training."""
    factor = SCHEDULES[config.schedule](done, config.batch_size)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def match_memory_format(optimizer: torch.optim.Optimizer) -> None:
    """Give the optimizer's buffers the memory format of their parameters, after `load_state_dict`.

    A file keeps no memory format. With another one the values are the same, but torch leaves its fast path.
    """
    for parameter, slots in optimizer.state.items():
        for key, value in slots.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                slots[key] = torch.empty_like(parameter).copy_(value)
