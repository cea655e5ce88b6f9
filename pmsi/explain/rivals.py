"""RIVALS: the ways to choose a rival, the class against which another one is explained.

The map of logit_class − logit_rival shows what speaks for the one and not for the other (Finer-CAM, Zhang et al., CVPR
2025). It takes the same one forward and one backward pass.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pmsi.base.errors import ConfigError, lookup
from pmsi.model.recognizer import Recognizer

Choose = Callable[[Recognizer | None, str, Tensor, Tensor], Tensor]
"""(model, head, its logits (b, classes), the classes explained (b,)) → their rivals (b,)."""


def likeliest(model: Recognizer | None, head: str, logits: Tensor, classes: Tensor) -> Tensor:
    """Return the class with the largest logit apart from the one explained, for each image."""
    return logits.detach().scatter(1, classes[:, None], -torch.inf).argmax(dim=1)


def similar(model: Recognizer | None, head: str, logits: Tensor, classes: Tensor) -> Tensor:
    """Return the class whose weights in the last layer are nearest to those of the one explained, by their cosine."""
    if model is None or not (layers := model.last_layers(head)):
        raise ConfigError("rival = 'similar': this network has no weights of classes. Choose likeliest or a class.")
    rows = [F.normalize(layer.weight.detach().float(), dim=1) for layer in layers]
    cosine = torch.stack([each @ each.T for each in rows]).mean(dim=0).fill_diagonal_(-torch.inf)
    return cosine.argmax(dim=1)[classes]


RIVALS: dict[str, Choose] = {"likeliest": likeliest, "similar": similar}


def choose_rivals(
    rival: str | Tensor | None, model: Recognizer | None, head: str, logits: Tensor, classes: Tensor
) -> Tensor | None:
    """Return the rivals (b,) int64 of the classes explained: those given, those of a row of RIVALS, or None for None.

    Raises UnknownName for an unknown row, ConfigError for a class out of range or one that is its own rival.
    """
    count = logits.shape[1]
    if rival is None:
        return None
    if count < 2:
        raise ConfigError("A network with one class has no rival. Explain the class alone.")
    if isinstance(rival, str):
        return lookup("rival", RIVALS, rival)(model, head, logits, classes)
    fits = rival.shape == classes.shape and not rival.is_floating_point()
    if not fits or bool(((rival < 0) | (rival >= count) | (rival == classes)).any()):
        raise ConfigError(
            f"Rivals {rival.tolist()} of the classes {classes.tolist()}: expected {len(classes)} other numbers, one "
            f"for each image, from 0 to {count - 1}."
        )
    return rival.to(classes.device, torch.int64)


def explained_score(logits: Tensor, classes: Tensor, rivals: Tensor | None) -> Tensor:
    """Return what is explained, summed over images: the logit of each class, less that of its rival if there is one."""
    score = logits.gather(1, classes[:, None])
    return (score if rivals is None else score - logits.gather(1, rivals[:, None])).sum()
