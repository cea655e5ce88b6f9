"""The image as a stage was shown it: cut as in the phase of Algorithm 1 that trained that stage's head.

How deep it is cut, and by what, a run's config says. What is made of the mosaic is not known here.
"""

import numpy as np
import torch
from PIL import Image

from pmsi.base.seeding import derive
from pmsi.config import TrainConfig
from pmsi.methods import resolve


def recursions_of_stages(config: TrainConfig) -> dict[str, int]:
    """Return r of the phase that trained each head (S3, say); empty where no phase cuts the image."""
    plan = resolve(config)
    return {phase.head: phase.r for phase in plan.phases} if plan.augmentation.cuts else {}


def phase_mosaic(picture: Image.Image, config: TrainConfig, stage: str, *, seed: int, key: str) -> Image.Image | None:
    """Return an RGB picture cut as in the phase that trained ``stage``; None where that phase did not cut.

    The layout is drawn by ``seed`` and the image's ``key``, as one of those that training draws anew each time.
    """
    r = recursions_of_stages(config).get(stage, 0)
    if r == 0:
        return None
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).unsqueeze(0)
    generator = torch.Generator().manual_seed(derive("mosaic of a phase", seed, key, r))
    nowhere = torch.zeros(1, *pixels.shape[2:])
    cut, _ = resolve(config).augmentation.augment(
        pixels, torch.zeros(1, dtype=torch.int64), r, generator, config, lambda: nowhere
    )
    return Image.fromarray(cut[0].permute(1, 2, 0).contiguous().numpy())
