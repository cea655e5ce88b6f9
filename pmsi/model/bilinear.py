"""Bilinear pooling: products of channels within one late layer (B-CNN) or between two (HBP).

Both are trained in one phase on the raw image. They pool the late layers of a backbone (`Backbone.late`), which exclude
a block that only widens the map for the usual classifier: with MobileNetV2's 1280 channels, an outer product would have
1.6 million entries.
"""

import contextlib
import itertools
from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pmsi.model.backbone import Backbone
from pmsi.model.baseline import CLASSIFIER
from pmsi.model.recognizer import Outputs, Recognizer

HBP_LAYERS = 3
"""Late layers whose pairs HBP multiplies."""

EPSILON = 1e-10
"""Added under the square root, to keep its gradient finite at 0."""


def signed_sqrt(x: Tensor) -> Tensor:
    """Return sign(x)·√(|x| + ε), with gradient 0 at 0; x must be float32 or wider."""
    return x.sign() * (x.abs() + EPSILON).sqrt()


def full_precision(x: Tensor) -> Tensor:
    """Return x in float32 or wider: half precision is too coarse for sums over a map's positions."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager:
    """Return a context without autocast, also for devices that do not support it."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


class BCNN(Recognizer):
    """Bilinear CNN with one network (Lin et al., ICCV 2015).

    Outer product, mean over positions (the paper's sum differs by a factor that the normalisation removes), signed
    square root, L2 normalisation, linear layer.
    """

    heads = (CLASSIFIER,)
    primary = CLASSIFIER

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__(backbone.cut_late())
        self.classifier = nn.Linear(self.backbone.channels[-1] ** 2, classes)

    def classify(self, maps: list[Tensor], heads: Collection[str] | None = None) -> Outputs:
        with without_autocast(maps[-1].device):
            x = full_precision(maps[-1]).flatten(2)
            bilinear = torch.einsum("bip,bjp->bij", x, x) / x.shape[-1]
        return {CLASSIFIER: self.classifier(F.normalize(signed_sqrt(bilinear.flatten(1))))}


class HBP(Recognizer):
    """Hierarchical bilinear pooling (Yu et al., ECCV 2018): late layers, projected to equal width, multiplied in pairs.

    ``projection`` is that width, 8192 in the paper; as in the authors' code, no activation follows. A network with two
    late layers, such as ResNet-18, has one pair instead of three.
    """

    heads = (CLASSIFIER,)
    primary = CLASSIFIER

    def __init__(self, backbone: Backbone, classes: int, projection: int = 8192) -> None:
        super().__init__(backbone.cut_late(HBP_LAYERS))
        widths = self.backbone.channels[self.backbone.ends[-2] + 1 :]
        assert len(widths) > 1, "check_late refuses others"
        self.project = nn.ModuleList(nn.Conv2d(width, projection, 1) for width in widths)
        self.pairs = tuple(itertools.combinations(range(len(widths)), 2))
        self.classifier = nn.Linear(len(self.pairs) * projection, classes)

    def classify(self, maps: list[Tensor], heads: Collection[str] | None = None) -> Outputs:
        taps = maps[-len(self.project) :]
        late = [full_precision(project(x)) for project, x in zip(self.project, taps, strict=True)]
        pooled = [F.normalize(signed_sqrt((late[i] * late[j]).sum(dim=(2, 3)))) for i, j in self.pairs]
        return {CLASSIFIER: self.classifier(torch.cat(pooled, dim=1))}
