"""``timm:NAME``: any network of timm whose ``features_only`` maps are S1…S5.

timm is optional, and imported only here. ``feature_info`` says which modules end a stride; the network's modules up to
there are the pieces of the backbone. Weights are those of the whole classifier network, as timm stores them.
"""

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from pmsi.base.errors import ConfigError, UnknownName
from pmsi.data.preprocessing import MEAN, STD
from pmsi.model.backbone import Backbone, BackboneRow, StateDict, Weights, load_weights
from pmsi.model.batch import STAGES

SIDE = 128
"""Side in pixels of the images with which a network is checked: S5's map has 4 × 4 cells."""

STRIDES = tuple(2**n for n in range(1, STAGES + 1))
"""Strides of S1…S5. In a network without a map of stride 2, S1 and S2 share the map of stride 4."""


@lru_cache(maxsize=64)
def row(name: str) -> BackboneRow:
    """Return the row of ``timm:name``; ``name`` is a network of timm, with or without the tag of its weights.

    Raises ConfigError if timm is not installed or the network does not fit, and UnknownName for an unknown network.
    """
    try:
        import timm  # the import of pmsi.model.backbone above has prepared torchvision for it
    except ImportError as error:
        raise ConfigError(
            f"backbone = 'timm:{name}' is a network of timm, which is not installed: pip install timm"
        ) from error
    known = timm.list_pretrained() if "." in name else timm.list_models()
    if name not in known:
        close = " or ".join(f"timm:{match}" for match in difflib.get_close_matches(name, known, n=3))
        hint = f" Did you mean {close}?" if close else ""
        raise UnknownName(f"timm {timm.__version__} has no network {name!r}.{hint} timm.list_models() names them all.")
    features = _features(name)
    _check_maps(name, features)
    published = timm.get_pretrained_cfg(name)
    download = partial(_download, name) if published is not None and published.has_weights else None
    stages = STAGES if 2 in features else STAGES - 1
    make = partial(_make, name, tuple(features.values()))
    return BackboneRow(f"{name} (timm)", make, download, stages=stages, stem_strides=(2,))


def _features(name: str) -> dict[int, int]:
    """Return the index in ``feature_info`` of the last feature of each stride of S1…S5."""
    import timm
    from timm.models import FeatureListNet
    from timm.models.efficientnet import EfficientNetFeatures
    from timm.models.mobilenetv3 import MobileNetV3Features

    try:
        with torch.device("meta"):
            network: Any = timm.create_model(name, features_only=True)
    except Exception as error:  # each network that has no features says so in a way of its own
        raise _refused(name, f"timm gives no features of it ({_words(error)})") from error
    info = network.feature_info
    places = dict(zip(info.reduction(), info.out_indices, strict=True))
    found = {stride: places[stride] for stride in STRIDES if stride in places}
    if not found.keys() >= set(STRIDES[1:]):
        raise _refused(name, f"its features have the strides {', '.join(map(str, dict.fromkeys(info.reduction())))}")
    if not isinstance(network, (FeatureListNet, EfficientNetFeatures, MobileNetV3Features)):
        raise _refused(name, f"timm takes its features by {type(network).__name__}: its modules do not form a row")
    return found


def _check_maps(name: str, features: dict[int, int]) -> None:
    """Raise ConfigError unless the pieces turn images of SIDE × SIDE px into maps of the strides that timm states."""
    with torch.device("meta"), torch.no_grad():
        backbone = _make(name, tuple(features.values())).eval()
        try:
            maps = backbone(torch.zeros(1, 3, SIDE, SIDE))
        except Exception as error:  # a network for images of one size alone fails in a way of its own
            raise _refused(name, f"it does not take images of {SIDE} × {SIDE} px ({_words(error)})") from error
    expected = [(1, c, SIDE // stride, SIDE // stride) for c, stride in zip(backbone.channels, features, strict=True)]
    if [tuple(stage_map.shape) for stage_map in maps] != expected:
        raise _refused(name, f"its features have the shapes {', '.join(str(tuple(x.shape)) for x in maps)}")


def _words(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _refused(name: str, reason: str) -> ConfigError:
    return ConfigError(
        f"timm's {name} cannot be a backbone: {reason}. Needed are features_only maps (batch, channels, height, width) "
        "of strides 2, 4, 8, 16 and 32, or 4, 8, 16 and 32, one made from the other, for images of any size that 32 "
        "divides. Choose another network."
    )


def _make(
    name: str, places: tuple[int, ...], state: Weights | StateDict | None = None, stem_stride: int = 2
) -> Backbone:
    """Return the network cut after the features at these places, with these weights or random ones.

    Piece p is a Sequential of the modules after feature p − 1, up to feature p.
    """
    import timm
    from timm.models import FeatureListNet

    assert stem_stride == 2, "check_stem refuses others"
    network: Any = timm.create_model(name)
    nested = any("." in about["module"] for about in network.feature_info)
    features = FeatureListNet(network, out_indices=places, flatten_sequential=nested)
    used = {id(tensor) for tensor in features.state_dict(keep_vars=True).values()}
    spare = [key for key, tensor in network.state_dict(keep_vars=True).items() if id(tensor) not in used]
    load_weights(network, state, tuple(spare), f"timm's {name}")
    modules = list(features.items())
    cuts = [0, *(number for number, (key, _) in enumerate(modules, start=1) if key in features.return_layers)]
    pieces = [[module for _, module in modules[a:b]] for a, b in pairwise(cuts)]
    scale = Renormalize(network.pretrained_cfg["mean"], network.pretrained_cfg["std"])
    pieces[0][:0] = [scale] if scale.matters else []
    ends = tuple(range(len(pieces))) if len(pieces) == STAGES else (0, *range(len(pieces)))
    dropout = float(getattr(network, "drop_rate", None) or 0.0)
    channels = tuple(features.feature_info.channels())
    return Backbone([nn.Sequential(*piece) for piece in pieces], channels, dropout, ends=ends)


class Renormalize(nn.Module):
    """Converts images normalised by ImageNet's statistics to the normalisation that the weights were trained with.

    Before the first convolution, so that its zero padding is that of the network's training.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.matters = (tuple(mean), tuple(std)) != (MEAN, STD)
        ours, theirs = torch.tensor((MEAN, STD)), torch.tensor((mean, std))
        scale, shift = ours[1] / theirs[1], (ours[0] - theirs[0]) / theirs[1]
        self.register_buffer("scale", scale[:, None, None], persistent=False)
        self.register_buffer("shift", shift[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale + self.shift


def _download(name: str) -> StateDict:
    """Return timm's weights of a network, downloaded at the first use."""
    import timm

    with torch.random.fork_rng(devices=[]):  # timm first initialises the network at random
        return dict(timm.create_model(name, pretrained=True).state_dict())


PIECE = re.compile(r"backbone\.pieces\.(\d+)\.")


def renamed(found: Mapping[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
    """Return a model's tensors with today's names, given those of an earlier version.

    That version cut timm's networks differently, but had the same modules in the same order, numbered by stage, block
    and place, so today's names have the same endings. If the stages that the model uses had another number of tensors,
    the names do not change.
    """
    expected = model.state_dict()
    if found.keys() == expected.keys():
        return found
    used = 4 if "S1" in getattr(model, "stages", ()) else 3
    names = {}
    for then, now in zip(_by_piece(found, used), _by_piece(expected, used), strict=True):
        if len(then) != len(now):
            return found
        waiting: dict[str, list[str]] = defaultdict(list)
        for name in sorted(then, key=_numbers):
            waiting[_unnumbered(name)].append(name)
        for name in now:
            words = _unnumbered(name)
            while not waiting.get(words) and "." in words:
                words = words.partition(".")[2]
            if not waiting.get(words):
                return found
            names[waiting[words].pop(0)] = name
    return {names.get(name, name): value for name, value in found.items()}


def _by_piece(names: Iterable[str], last: int) -> list[list[str]]:
    """Return the names of a backbone's tensors: those of all but the ``last`` pieces, then by piece."""
    numbered = [(int(match[1]), name) for name in names if (match := PIECE.match(name))]
    first = max((piece for piece, _ in numbered), default=0) - last
    return [[name for piece, name in numbered if max(0, piece - first) == place] for place in range(last + 1)]


def _unnumbered(name: str) -> str:
    return ".".join(part for part in PIECE.sub("", name).split(".") if not part.isdigit())


def _numbers(name: str) -> list[int]:
    return [int(part) for part in name.split(".") if part.isdigit()]
