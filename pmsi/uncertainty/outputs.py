"""All that a model says of some images: the logits of every output, and the features before them."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pmsi.data.loading import Batch
from pmsi.data.preprocessing import normalize
from pmsi.model import Recognizer


@dataclass(frozen=True)
class Outputs:
    """True ``labels`` (n,), ``logits`` (n, classes) by output, and ``features`` (n, channels): the mean of the last
    stage's map, of length 1.
    """

    labels: np.ndarray
    logits: dict[str, np.ndarray]
    features: np.ndarray


@torch.inference_mode()
def outputs_of(
    model: Recognizer, batches: Iterable[Batch], device: torch.device, after_batch: Callable[[], None] = lambda: None
) -> Outputs:
    """Return the outputs of a model over batches of uint8 images (b, 3, h, w) and labels (b,)."""
    was_training = model.training
    model.eval()
    labels, features = [], []
    logits: dict[str, list[torch.Tensor]] = {head: [] for head in model.heads}
    try:
        for images, truth in batches:
            maps = model.backbone(normalize(images.to(device, non_blocking=True)))
            for head, found in model.classify(maps).items():
                logits[head].append(found.float().cpu())
            features.append(F.normalize(maps[-1].float().mean(dim=(2, 3)), dim=1).cpu())
            labels.append(truth)
            after_batch()
    finally:
        model.train(was_training)
    return Outputs(
        torch.cat(labels).numpy(),
        {head: torch.cat(parts).numpy() for head, parts in logits.items()},
        torch.cat(features).numpy(),
    )


def digest_of_model(model: nn.Module) -> str:
    """Return a digest of all weights of a model: what was fitted to another model does not fit."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
