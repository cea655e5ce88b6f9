"""The layers after the backbone: smooth conv, multi-stage interaction (Eq. 1–3), classifier (Eq. 4 and 6)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pmsi.model.batch import Logits, StageMap, Vectors


def _full(hidden: int, channels: int) -> list[nn.Module]:
    return [nn.Conv2d(hidden, channels, 3, padding=1, bias=False)]


def _separable(hidden: int, channels: int) -> list[nn.Module]:
    depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False)
    return [depthwise, nn.Conv2d(hidden, channels, 1, bias=False)]


SMOOTH_CONVS: dict[str, Callable[[int, int], list[nn.Module]]] = {"paper": _full, "separable": _separable}
"""The second convolution h → c of a smooth conv block: the paper's 3×3, or a depthwise separable one."""


class SmoothConv(nn.Module):
    """1×1 conv C_n → h and 3×3 conv h → c, each with BN and ReLU, then global max pooling: a stage map → x_n.

    Takes (b, C_n, h_n, w_n) and returns (b, c). ``bn_momentum`` is the weight of a batch in BN's running statistics.
    """

    def __init__(
        self,
        c_n: int,
        hidden: int,
        channels: int,
        spatial: Callable[[int, int], list[nn.Module]] = _full,
        bn_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(c_n, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden, momentum=bn_momentum),
            nn.ReLU(inplace=True),
            *spatial(hidden, channels),
            nn.BatchNorm2d(channels, momentum=bn_momentum),
            nn.ReLU(inplace=True),
        )

    def forward(self, stage_map: StageMap) -> Vectors:
        return self.block(stage_map).amax(dim=(2, 3))  # adaptive max pooling exports to ONNX less well


class MultiStageInteraction(nn.Module):
    """Multi-stage interaction: each stage's vector, gated by the mixture of all (Eq. 1–3)."""

    def __init__(self, stage_num: int, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.f_m = nn.Sequential(
            nn.Linear(stage_num * channels, hidden), nn.Dropout(dropout), nn.Linear(hidden, channels)
        )

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """Return m_n for each x_n, (b, c) each."""
        return self.steps(x)[-1]

    def steps(self, x: list[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Return x_m, and g_n and m_n for each x_n, (b, c) each."""
        x_m = self.f_m(torch.cat(x, dim=1))  # Eq. 1
        g = [torch.sigmoid(x_m * x_n) for x_n in x]  # Eq. 2
        return x_m, g, [x_n + g_n * x_n for x_n, g_n in zip(x, g, strict=True)]  # Eq. 3


class Classifier(nn.Module):
    """Two fully connected layers with batch normalisation and ELU (Eq. 4 and 6; the loss has the softmax)."""

    def __init__(self, features: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(features),
            nn.Linear(features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ELU(inplace=True),
            nn.Linear(hidden, classes),
        )

    def forward(self, m: Vectors) -> Logits:
        return self.layers(m)
