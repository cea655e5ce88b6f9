"""Backbones: networks that turn images into five stage maps S1…S5. The rows of BACKBONES stand beside their builders.

A stage ends where the stride doubles. Weights are read from a download or from a file, and "none" is a choice that has
to be stated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from pmsi.base.errors import CheckpointError, ConfigError, UnknownName, lookup
from pmsi.base.vision import models
from pmsi.config import WEIGHT_WORDS
from pmsi.model.batch import STAGES, Images
from pmsi.model.fields import receptive_fields
from pmsi.model.weights import read_weights

StateDict = dict[str, Tensor]


class Backbone(nn.Module):
    """A network as pieces that run one after the other; those that ``ends`` numbers end the stages S1…S5.

    Two stages end together where one layer doubles the stride twice, as a stem of 4×4 patches does for S1 and S2.
    ``channels`` are those of each piece's map: C_n where pieces are stages. ``dropout`` is that of the network's usual
    classifier, used by the plain baseline. ``late`` states the late layers: the numbers of consecutive blocks of S5
    whose maps bilinear methods pool, with their channels; without any, S5's map is the only late one.
    """

    def __init__(
        self,
        pieces: Sequence[nn.Module],
        channels: tuple[int, ...],
        dropout: float = 0.0,
        *,
        ends: tuple[int, ...] = tuple(range(STAGES)),
        late: Mapping[int, int] | None = None,
    ) -> None:
        super().__init__()
        assert len(pieces) == len(channels) == ends[-1] + 1
        assert len(ends) == STAGES
        self.pieces = nn.ModuleList(pieces)
        self.channels = channels
        self.dropout = dropout
        self.ends = ends
        self.late = dict(late or {})

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

    def cut_late(self, count: int = 1) -> "Backbone":
        """Return this network with S5 cut after each of its last ``count`` late layers, or all if it has fewer.

        The last pieces' maps are then those of the late layers; blocks of S5 behind them are left out. The modules are
        shared with this backbone.
        """
        if not self.late:
            return self
        first, *others = list(self.late)[-count:]
        blocks = list(self.pieces[-1].children())
        pieces = [*self.pieces[:-1], nn.Sequential(*blocks[: first + 1]), *(blocks[number] for number in others)]
        channels = (*self.channels[:-1], *(self.late[number] for number in (first, *others)))
        return Backbone(pieces, channels, self.dropout, ends=(*self.ends[:-1], len(pieces) - 1))

    def receptive_fields(self) -> tuple[int | None, ...]:
        """Return the theoretical receptive field of each stage's map, in pixels of the input; None where unknown.

        See `pmsi.model.fields` for what counts. The network's mode stays as it is.
        """
        was_training = self.training
        try:
            with torch.inference_mode(False), torch.enable_grad():
                images = next(self.parameters()).new_zeros(1, 3, 96, 96).requires_grad_()
                maps = self.eval()(images)
        finally:
            self.train(was_training)
        return receptive_fields([maps[end] for end in self.ends], images)


@dataclass(frozen=True)
class BackboneRow:
    """A row of BACKBONES: how to make the network, given the weights of the whole ImageNet model or None.

    ``make(state, stem_stride)`` takes one of ``stem_strides``, by default 2. ``download`` fetches the weights; None
    where nobody offers any. ``from_file`` says whether there can be a file of them; else the network is always trained
    from scratch. ``stages`` is how many of S1…S5, counted from the last, have a map of their own: the largest StageNum.
    ``late`` is how many late layers bilinear methods can pool, S5's own map among them.
    """

    title: str
    make: Callable[..., Backbone]
    download: Callable[[], StateDict] | None
    from_file: bool = True
    stages: int = STAGES
    stem_strides: tuple[int, ...] = (2, 1)
    late: int = 1


BACKBONES: dict[str, BackboneRow] = {}


def load_weights(network: nn.Module, state: StateDict | None, spare: str | tuple[str, ...], title: str) -> None:
    """Load the weights of a whole network, if any; raise CheckpointError, which names ``title``, where they are others.

    Those whose names begin as ``spare`` says, the classifier's, may be absent or of another size, and are left out.
    """
    if state is None:
        return
    expected = {name: value for name, value in network.state_dict().items() if not name.startswith(spare)}
    given = {name: value for name, value in state.items() if not name.startswith(spare)}
    # BatchNorm's count of batches is in no file older than torch 0.4.1, the ResNets' among them; nothing here reads it.
    missing = sorted(name for name in expected.keys() - given.keys() if not name.endswith(".num_batches_tracked"))
    foreign = sorted(given.keys() - expected.keys())
    wrong = [name for name in expected.keys() & given.keys() if expected[name].shape != given[name].shape]
    if missing or foreign or wrong:
        counts = f"{len(missing)} tensors missing, {len(foreign)} unknown, {len(wrong)} of another shape"
        example = (missing or foreign or wrong)[0]
        raise CheckpointError(
            f"These weights are not those of {title}: {counts} ({example!r}, for one). "
            "Choose the backbone that the weights were trained for."
        )
    if not next(network.parameters()).is_meta:  # there, names and shapes are all that can be checked
        network.load_state_dict(given, strict=False)


def _torchvision(weights: str) -> Callable[[], StateDict]:
    """Return what downloads weights that torchvision names."""
    return lambda: models.get_weight(weights).get_state_dict(progress=False, check_hash=True)


def mobilenet_v2(state: StateDict | None = None, stem_stride: int = 2) -> Backbone:
    """MobileNetV2 (Sandler et al., 2018), cut where the stride doubles: features 0 | 1–3 | 4–6 | 7–13 | 14–18.

    The late layers are features 15, 16 and 17: the last one only widens the map for the usual classifier.
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
    def make(state: StateDict | None = None, stem_stride: int = 2) -> Backbone:
        """ResNet (He et al., 2016): the stem's convolution, then its four layers."""
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


def tiny(state: StateDict | None = None, stem_stride: int = 2) -> Backbone:
    """Five small stages of two 3×3 convolutions: trains from scratch in minutes on two cores; for trials and tests."""
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
    try:
        return lookup("backbone", BACKBONES, name)
    except UnknownName as error:
        raise UnknownName(f"{error} Or {', '.join(f'{family}:NAME' for family in FAMILIES)}.") from None


def receptive_fields_of(name: str, stem_stride: int = 2) -> tuple[int | None, ...]:
    """Return the receptive fields of S1…S5 of a backbone, in pixels; None where one is unknown."""
    row = find_backbone(name)
    check_stem(row, stem_stride)
    with torch.device("meta"):  # sizes are all that matters, and the network may be large
        return row.make(None, stem_stride).receptive_fields()


def check_stages(row: BackboneRow, stage_num: int) -> None:
    """Raise ConfigError where the last ``stage_num`` stages do not each have a map of their own."""
    if stage_num > row.stages:
        raise ConfigError(
            f"stage_num = {stage_num}: {row.title} has maps for its last {row.stages} stages alone, because its stem "
            f"goes straight to a later stage's stride. Choose stage_num = {row.stages} or less."
        )


def check_stem(row: BackboneRow, stem_stride: int) -> None:
    """Raise ConfigError where the network's first convolution cannot have this stride."""
    if stem_stride not in row.stem_strides:
        known = " or ".join(map(str, sorted(row.stem_strides)))
        raise ConfigError(f"stem_stride = {stem_stride}: {row.title} is there with {known} alone. Choose that.")


def check_late(row: BackboneRow, count: int, method: str) -> None:
    """Raise ConfigError where a bilinear method needs more late layers than the backbone states."""
    if count > row.late:
        able = ", ".join(name for name, other in BACKBONES.items() if other.late >= count)
        raise ConfigError(
            f"method = {method!r} multiplies at least {count} late layers, and {row.title} states {row.late} (of "
            f"timm's networks, features_only gives the stages alone). Choose {able}, or another method."
        )


def check_weights(row: BackboneRow, weights: str) -> None:
    """Raise CheckpointError where these weights cannot be had for this backbone; a file is read, nothing downloaded."""
    _check_offered(row, weights)
    if weights not in WEIGHT_WORDS:
        path = _file(weights)
        _check_file(row, path, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _check_file(row: BackboneRow, path: Path, changed: int) -> None:
    """Check a file once for as long as it does not change: a form asks with every click."""
    state = read_weights(path)
    with torch.device("meta"):
        row.make(state)


def _check_offered(row: BackboneRow, weights: str) -> None:
    if weights == "none":
        return
    if not row.from_file:
        raise CheckpointError(f"{row.title} has no weights to start from, neither ImageNet's nor a file. Choose none.")
    if weights == "imagenet" and row.download is None:
        raise CheckpointError(f"Nobody offers weights of {row.title} for download. Give a file, or choose none.")


def _file(weights: str) -> Path:
    path = Path(weights).expanduser()
    if not path.is_file():
        raise CheckpointError(f"There is no weights file at {weights}. Give the path of one, or imagenet or none.")
    return path


def pretrained_state(row: BackboneRow, weights: str) -> StateDict | None:
    """Return the weights to start from: "none" → None, "imagenet" → a download, else the file's."""
    _check_offered(row, weights)
    if weights == "none":
        return None
    if weights != "imagenet" or row.download is None:  # the check has refused imagenet without a download
        return read_weights(_file(weights))
    try:
        return row.download()
    except Exception as error:  # each library's downloader raises errors of its own
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
