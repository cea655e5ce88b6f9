"""BACKBONES: the networks, each followed by its row (``timm:NAME`` is one of timm), and their initial weights."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from pmsi.base.errors import CheckpointError, ConfigError, Fix, UnknownName, lookup
from pmsi.base.files import cached_by_files, expanded
from pmsi.base.vision import models
from pmsi.config import WEIGHT_WORDS
from pmsi.model import timm
from pmsi.model.backbone import Backbone, BackboneRow, StateDict, Weights, load_weights
from pmsi.model.weights.fitting import Network, Unfit, take
from pmsi.model.weights.known import nearest
from pmsi.model.weights.reading import read_contents

BACKBONES: dict[str, BackboneRow] = {}


def _torchvision(weights: str) -> Callable[[], StateDict]:
    """Return the function that downloads torchvision's weights of this name."""
    return lambda: models.get_weight(weights).get_state_dict(progress=False, check_hash=True)


def mobilenet_v2(state: Weights | StateDict | None = None, stem_stride: int = 2) -> Backbone:
    """Return MobileNetV2 (Sandler et al., 2018), cut where the stride doubles: features 0 | 1–3 | 4–6 | 7–13 | 14–18.

    The late layers are features 15, 16 and 17; feature 18 only widens the map for the usual classifier.
    """
    network = models.mobilenet_v2(weights=None)
    load_weights(network, state, "classifier.", "MobileNetV2")
    features = network.features
    features[0][0].stride = (stem_stride, stem_stride)
    stages = [features[a:b] for a, b in pairwise((0, 1, 4, 7, 14, 19))]
    return Backbone(stages, (32, 24, 32, 96, 1280), dropout=0.2, late={1: 160, 2: 160, 3: 320})


BACKBONES["mobilenet_v2"] = BackboneRow(
    "MobileNetV2", mobilenet_v2, _torchvision("MobileNet_V2_Weights.IMAGENET1K_V1"), late=3
)


def _resnet(name: str) -> Callable[..., Backbone]:
    def make(state: Weights | StateDict | None = None, stem_stride: int = 2) -> Backbone:
        """Return a ResNet (He et al., 2016) with the stem's convolution and the four layers as stages."""
        net = getattr(models, name)(weights=None)
        load_weights(net, state, "fc.", name)
        net.conv1.stride = (stem_stride, stem_stride)
        stem = nn.Sequential(net.conv1, net.bn1, net.relu)
        layers = [nn.Sequential(net.maxpool, net.layer1), net.layer2, net.layer3, net.layer4]
        late = dict.fromkeys(range(len(net.layer4)), 512)
        return Backbone([stem, *layers], (64, 64, 128, 256, 512), late=late)

    return make


BACKBONES["resnet18"] = BackboneRow(
    "ResNet-18", _resnet("resnet18"), _torchvision("ResNet18_Weights.IMAGENET1K_V1"), late=2
)
BACKBONES["resnet34"] = BackboneRow(
    "ResNet-34", _resnet("resnet34"), _torchvision("ResNet34_Weights.IMAGENET1K_V1"), late=3
)


def tiny(state: Weights | StateDict | None = None, stem_stride: int = 2) -> Backbone:
    """Return a network of five small stages of two 3×3 convolutions, for tests and quick runs from scratch."""
    assert state is None, "check_weights refuses others"
    channels = (16, 32, 48, 80, 128)
    strides = (stem_stride, 2, 2, 2, 2)
    stages = [
        nn.Sequential(_conv_bn_relu(c_in, c_out, stride), _conv_bn_relu(c_out, c_out, stride=1))
        for c_in, c_out, stride in zip((3, *channels), channels, strides, strict=False)
    ]
    return Backbone(stages, channels, late={0: 128, 1: 128})


def _conv_bn_relu(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))


BACKBONES["tiny"] = BackboneRow("Tiny (from scratch)", tiny, None, from_file=False, late=2)

FAMILIES: dict[str, Callable[[str], BackboneRow]] = {"timm": timm.row}
"""Functions NAME → row for collections of networks: ``timm:NAME`` is the row of NAME in timm."""


def find_backbone(name: str) -> BackboneRow:
    """Return the row of a backbone: one of BACKBONES, or ``FAMILY:NAME``; raise UnknownName or ConfigError."""
    family, colon, member = name.partition(":")
    if colon:
        return lookup("family of backbones", FAMILIES, family)(member)
    try:
        return lookup("backbone", BACKBONES, name)
    except UnknownName as error:
        raise UnknownName(f"{error} Or {', '.join(f'{family}:NAME' for family in FAMILIES)}.") from None


def receptive_fields_of(name: str, stem_stride: int = 2) -> tuple[int | None, ...]:
    """Return the receptive fields of S1…S5 of a backbone in pixels; None for an unknown one."""
    row = find_backbone(name)
    check_stem(row, stem_stride)
    with torch.device("meta"):  # without weights, because only sizes matter and the network may be large
        return row.make(None, stem_stride).receptive_fields()


def check_stages(row: BackboneRow, stage_num: int) -> None:
    """Raise ConfigError if one of the last ``stage_num`` stages has no map of its own."""
    if stage_num > row.stages:
        raise ConfigError(
            f"stage_num = {stage_num}: {row.title} has maps for its last {row.stages} stages alone, because its stem "
            f"goes straight to a later stage's stride. Choose stage_num = {row.stages} or less.",
            fixes=[Fix(f"The last {row.stages} stages", {"stage_num": row.stages})],
        )


def check_stem(row: BackboneRow, stem_stride: int) -> None:
    """Raise ConfigError if the network's first convolution cannot have this stride."""
    if stem_stride not in row.stem_strides:
        known = " or ".join(map(str, sorted(row.stem_strides)))
        raise ConfigError(
            f"stem_stride = {stem_stride}: {row.title} is there with {known} alone. Choose that.",
            fixes=[Fix(f"A stride of {row.stem_strides[0]}", {"stem_stride": row.stem_strides[0]})],
        )


def check_late(row: BackboneRow, count: int, method: str) -> None:
    """Raise ConfigError if a bilinear method needs more late layers than the backbone has."""
    if count > row.late:
        able = ", ".join(name for name, other in BACKBONES.items() if other.late >= count)
        raise ConfigError(
            f"method = {method!r} multiplies at least {count} late layers, and {row.title} states {row.late} (of "
            f"timm's networks, features_only gives the stages alone). Choose {able}, or another method."
        )


def check_weights(row: BackboneRow, weights: str, part: str | None = None) -> str | None:
    """Return in words which weights of a file the backbone takes, None without a file; nothing is downloaded.

    Raises CheckpointError if there are none, or they do not fit.
    """
    _check_offered(row, weights, part)
    return None if weights in WEIGHT_WORDS else _check_file(row, expanded(weights), part)


@cached_by_files(lambda row, path, part: [path], most=16)
def _check_file(row: BackboneRow, path: Path, part: str | None) -> str:
    """Check a file; cached, because the app's form checks at every click."""
    file = WeightsFile(path, part)
    with torch.device("meta"):
        row.make(file)
    return file.words


class WeightsFile:
    """A file of weights: the ones of the network that asks are found in it. ``words`` then say which were taken."""

    def __init__(self, path: Path, part: str | None = None) -> None:
        self.contents, self.part, self.words = read_contents(path), part, ""

    def __call__(self, network: Network) -> StateDict:
        """Return the network's weights; raises CheckpointError if it has none in this file."""
        try:
            taken = take(network, self.contents, self.part)
        except Unfit as error:
            ours = [name for name, row in BACKBONES.items() if row.from_file]
            hint, fixes = nearest(self.contents, ours, lambda name, find: find_backbone(name).make(find))
            raise CheckpointError(f"{error} {hint}", fixes=fixes) from error
        self.words = taken.words
        return taken.state


def _check_offered(row: BackboneRow, weights: str, part: str | None = None) -> None:
    if part is not None and weights in WEIGHT_WORDS:
        raise CheckpointError(
            f"weights_part = {part!r} says where in a file the weights are, and weights = {weights!r} is no file.",
            fixes=[Fix("Leave the part out", {"weights_part": None})],
        )
    if weights == "none":
        return
    none = [Fix("Train from scratch", {"weights": "none"})]
    if not row.from_file:
        raise CheckpointError(
            f"{row.title} has no weights to start from, neither ImageNet's nor a file. Choose none.", fixes=none
        )
    if weights == "imagenet" and row.download is None:
        raise CheckpointError(
            f"There are no weights of {row.title} to download. Give a file, or choose none.", fixes=none
        )


def pretrained_state(row: BackboneRow, weights: str, part: str | None = None) -> Weights | StateDict | None:
    """Return the initial weights: "none" → None, "imagenet" → a download, else a file in which they are found."""
    _check_offered(row, weights, part)
    if weights == "none":
        return None
    if weights != "imagenet" or row.download is None:  # _check_offered refuses imagenet without a download
        return WeightsFile(expanded(weights), part)
    try:
        return row.download()
    except Exception as error:  # each library's downloader raises errors of its own
        raise CheckpointError(
            f"The ImageNet weights of {row.title} could not be downloaded ({error}). On a machine without internet, "
            "give a file (--weights FILE) or train from scratch (--weights none)."
        ) from error
