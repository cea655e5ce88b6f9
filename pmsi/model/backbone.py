"""Backbones: networks that turn images into five stage maps, S1…S5, each at half the size of the one before.

A stage ends where the stride doubles. A backbone knows nothing of classes, heads or training; weights are read from
torchvision's download or from a file, and "none" is a choice that has to be stated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from pmsi.batch import STAGES, Images
from pmsi.errors import CheckpointError, ConfigError, lookup
from pmsi.vision import models
from pmsi.weights import read_weights

StateDict = dict[str, Tensor]


class Backbone(nn.Module):
    """Pieces in a row, each of which gives a map; the five that ``ends`` numbers end the stages S1…S5.

    Mostly a piece is a stage; `late` cuts the last stage finer. ``channels`` are those of each piece's map: C_n where
    pieces are stages. ``dropout`` is that of the network's usual classifier, used by the plain baseline. ``expands``
    says that the last block of S5 only widens the map for that classifier, as MobileNetV2's 320 → 1280 does.
    """

    def __init__(
        self,
        pieces: Sequence[nn.Module],
        channels: tuple[int, ...],
        dropout: float = 0.0,
        *,
        ends: tuple[int, ...] = tuple(range(STAGES)),
        expands: bool = False,
    ) -> None:
        super().__init__()
        assert len(pieces) == len(channels) == ends[-1] + 1
        assert len(ends) == STAGES
        self.pieces = nn.ModuleList(pieces)
        self.channels = channels
        self.dropout = dropout
        self.ends = ends
        self.expands = expands

    def forward(self, images: Images) -> list[Tensor]:
        """Return the maps of all pieces: of S1…S5, (b, C_n, h / 2^n, w / 2^n) each, where pieces are stages."""
        return self.advance(images, 0)

    def advance(self, x: Tensor, done: int) -> list[Tensor]:
        """Return the maps of the pieces after the first ``done``, whose map is ``x`` (the images where it is 0)."""
        maps = []
        for piece in self.pieces[done:]:
            x = piece(x)
            maps.append(x)
        return maps

    def late(self, taps: int = 1) -> "Backbone":
        """Return this network with S5 cut into pieces that end at its last ``taps`` blocks, or at all if it has fewer.

        A block that only widens the map for the usual classifier is left out: bilinear pooling squares the channels.
        The modules are shared with this backbone. Raises ConfigError where S5 is not a row of blocks.
        """
        last = self.pieces[-1]
        if not isinstance(last, nn.Sequential):
            raise ConfigError(f"The last stage is one {type(last).__name__}, not a row of blocks that can be cut.")
        blocks = list(last)[: len(last) - self.expands]
        first = max(1, len(blocks) - taps + 1)
        pieces = [*self.pieces[:-1], nn.Sequential(*blocks[:first]), *blocks[first:]]
        return Backbone(pieces, widths(pieces), self.dropout, ends=(*range(STAGES - 1), len(pieces) - 1))

    def receptive_fields(self) -> tuple[int, ...]:
        """Return the theoretical receptive field of each stage's map, in pixels of the input.

        r ← r + (k − 1)·d·j and j ← j·s over the convolutions and poolings of the longest path, with kernel k, dilation
        d and stride s; a shortcut's projection is on the shorter path and does not count.
        """
        field, jump, fields = 1, 1, []
        for number, piece in enumerate(self.pieces):
            for name, layer in piece.named_modules():
                if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)) and "downsample" not in name:
                    kernel, stride, dilation = (_first(v) for v in (layer.kernel_size, layer.stride, layer.dilation))
                    field += (kernel - 1) * dilation * jump
                    jump *= stride
            if number in self.ends:
                fields.append(field)
        return tuple(fields)


@torch.no_grad()
def widths(pieces: Sequence[nn.Module]) -> tuple[int, ...]:
    """Return the channels of each piece's map, found by showing them an empty image."""
    x, found = torch.zeros(1, 3, 64, 64, device=next(pieces[0].parameters()).device), []
    for piece in pieces:
        was_training = piece.training
        x = piece.eval()(x)
        piece.train(was_training)
        found.append(x.shape[1])
    return tuple(found)


def _first(value: int | tuple[int, ...] | None) -> int:
    return value[0] if isinstance(value, tuple) else int(value or 1)


@dataclass(frozen=True)
class BackboneRow:
    """A row of BACKBONES: how to make the network, given the weights of the whole ImageNet model or None.

    ``download`` fetches these weights; None where there are none and the network is always trained from scratch.
    """

    title: str
    make: Callable[[StateDict | None], Backbone]
    download: Callable[[], StateDict] | None


def _load(network: nn.Module, state: StateDict | None, classifier: str) -> None:
    """Load ImageNet weights into a torchvision network; those of its classifier may be absent or of another size."""
    if state is None:
        return
    expected = {name: value for name, value in network.state_dict().items() if not name.startswith(classifier)}
    given = {name: value for name, value in state.items() if not name.startswith(classifier)}
    # BatchNorm's count of batches is in no file older than torch 0.4.1, the ResNets' among them; nothing here reads it.
    missing = sorted(name for name in expected.keys() - given.keys() if not name.endswith(".num_batches_tracked"))
    foreign = sorted(given.keys() - expected.keys())
    wrong = [name for name in expected.keys() & given.keys() if expected[name].shape != given[name].shape]
    if missing or foreign or wrong:
        counts = f"{len(missing)} tensors missing, {len(foreign)} unknown, {len(wrong)} of another shape"
        example = (missing or foreign or wrong)[0]
        raise CheckpointError(
            f"These weights are not those of {type(network).__name__}: {counts} ({example!r}, for one). "
            "Choose the backbone that the weights were trained for."
        )
    network.load_state_dict(given, strict=False)


def mobilenet_v2(state: StateDict | None = None) -> Backbone:
    """MobileNetV2 (Sandler et al., 2018), cut where the stride doubles: features 0 | 1–3 | 4–6 | 7–13 | 14–18."""
    network = models.mobilenet_v2(weights=None)
    _load(network, state, "classifier.")
    features = network.features
    cuts = (0, 1, 4, 7, 14, 19)
    stages = [features[a:b] for a, b in pairwise(cuts)]
    return Backbone(stages, (32, 24, 32, 96, 1280), dropout=0.2, expands=True)


def _resnet(name: str) -> Callable[[StateDict | None], Backbone]:
    def make(state: StateDict | None = None) -> Backbone:
        """ResNet (He et al., 2016): the stem's convolution, then its four layers."""
        net = getattr(models, name)(weights=None)
        _load(net, state, "fc.")
        stem = nn.Sequential(net.conv1, net.bn1, net.relu)
        layers = [nn.Sequential(net.maxpool, net.layer1), net.layer2, net.layer3, net.layer4]
        return Backbone([stem, *layers], (64, 64, 128, 256, 512))

    return make


def tiny(state: StateDict | None = None) -> Backbone:
    """Five small stages of two 3×3 convolutions: trains from scratch in minutes on two cores; for trials and tests."""
    assert state is None, "check_weights refuses others"
    channels = (16, 32, 48, 80, 128)
    stages = [
        nn.Sequential(_conv_bn_relu(c_in, c_out, stride=2), _conv_bn_relu(c_out, c_out, stride=1))
        for c_in, c_out in zip((3, *channels), channels, strict=False)
    ]
    return Backbone(stages, channels)


def _conv_bn_relu(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))


def _torchvision(weights: str) -> Callable[[], StateDict]:
    """Return what downloads weights that torchvision names."""
    return lambda: models.get_weight(weights).get_state_dict(progress=False, check_hash=True)


BACKBONES: dict[str, BackboneRow] = {
    "mobilenet_v2": BackboneRow("MobileNetV2", mobilenet_v2, _torchvision("MobileNet_V2_Weights.IMAGENET1K_V1")),
    "resnet18": BackboneRow("ResNet-18", _resnet("resnet18"), _torchvision("ResNet18_Weights.IMAGENET1K_V1")),
    "resnet34": BackboneRow("ResNet-34", _resnet("resnet34"), _torchvision("ResNet34_Weights.IMAGENET1K_V1")),
    "tiny": BackboneRow("Tiny (from scratch)", tiny, None),
}


def _timm(name: str) -> BackboneRow:
    from pmsi.model.timm import row

    return row(name)


FAMILIES: dict[str, Callable[[str], BackboneRow]] = {"timm": _timm}
"""Collections of networks: ``timm:NAME`` is what the row ``timm`` returns for NAME."""


def find_backbone(name: str) -> BackboneRow:
    """Return the row of a backbone: one of BACKBONES, or ``FAMILY:NAME``; raise UnknownName or ConfigError."""
    family, colon, member = name.partition(":")
    if colon:
        return lookup("family of backbones", FAMILIES, family)(member)
    return lookup("backbone", BACKBONES, name)


def check_weights(row: BackboneRow, weights: str) -> None:
    """Raise CheckpointError where these weights cannot be had for this backbone, as far as a look can tell."""
    if weights == "none":
        return
    if row.download is None:
        raise CheckpointError(f"{row.title} has no weights to start from, neither ImageNet's nor a file. Choose none.")
    if weights != "imagenet" and not Path(weights).expanduser().is_file():
        raise CheckpointError(f"There is no weights file at {weights}. Give the path of one, or imagenet or none.")


def pretrained_state(row: BackboneRow, weights: str) -> StateDict | None:
    """Return the weights to start from: "none" → None, "imagenet" → a download, else the file's."""
    check_weights(row, weights)
    if weights == "none":
        return None
    if weights != "imagenet" or row.download is None:
        return read_weights(Path(weights).expanduser())
    try:
        return row.download()
    except (URLError, OSError, RuntimeError) as error:
        raise CheckpointError(
            f"The ImageNet weights of {row.title} could not be downloaded ({error}). On a machine without internet, "
            "give a file (--weights FILE) or train from scratch (--weights none)."
        ) from error


@torch.no_grad()
def stage_sizes(backbone: Backbone, image_size: int) -> tuple[int, ...]:
    """Return the side of each stage's map, in cells, for a square image."""
    images = torch.zeros(1, 3, image_size, image_size, device=next(backbone.parameters()).device)
    maps = backbone.eval()(images)
    return tuple(maps[end].shape[-1] for end in backbone.ends)
