"""``timm:NAME``: any network of timm that is a row of modules and halves its maps from stage to stage.

timm is optional, and imported only here. It is not asked which of its maps are features: `pmsi.model.cutting` watches
the network run, up to the last map, which its own classifier pools, and cuts where METHOD says that a stage ends.
Weights are those of the whole classifier network, as timm stores them. Heads and training are unknown here.
"""

import difflib
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from pmsi.base.errors import ConfigError, UnknownName
from pmsi.model.backbone import Backbone, BackboneRow, StateDict, load_weights
from pmsi.model.cutting import SIDE, Cut, cut


@lru_cache(maxsize=64)
def row(name: str) -> BackboneRow:
    """Return the row of ``timm:name``: ``name`` is a network of timm, with a tag of its weights or without.

    Raises ConfigError where timm is not installed or the network does not fit, and UnknownName where there is none.
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
    where, published = _cut(name), timm.get_pretrained_cfg(name)
    download = partial(_download, name) if published is not None and published.has_weights else None
    return BackboneRow(f"{name} (timm)", partial(_make, name, where), download, stages=len(set(where.ends)))


def _cut(name: str) -> Cut:
    """Return where a network can be cut, found on one without memory."""
    import timm

    with torch.device("meta"):
        network: Any = timm.create_model(name).eval()
    try:
        return cut(network, network.forward_features)
    except Exception as error:  # a network for images of one size alone fails in a way of its own
        cause, reason = error, str(error).rstrip(".") or type(error).__name__
    if not isinstance(cause, ConfigError):
        reason = f"it does not take images of {SIDE} × {SIDE} px ({reason})"
    strides = sorted({about["reduction"] for about in getattr(network, "feature_info", ())})
    found = ", ".join(map(str, strides)) or "none"
    raise ConfigError(
        f"timm's {name} cannot be a backbone: {reason}. timm names features of strides {found}; needed is a row of "
        "modules with maps (batch, channels, height, width) of strides 2, 4, 8, 16 and 32, or 4, 8, 16 and 32, for "
        "images of any size that 32 divides."
    ) from cause


def _make(name: str, where: Cut, state: StateDict | None = None) -> Backbone:
    """Return the network in pieces, with these weights or drawn from torch's generator."""
    import timm

    network: Any = timm.create_model(name)
    blocks = [[_joined([network.get_submodule(n) for n in names]) for names in piece] for piece in where.pieces]
    used = {id(tensor) for tensor in nn.ModuleList(map(nn.ModuleList, blocks)).state_dict(keep_vars=True).values()}
    spare = [n for n, tensor in network.state_dict(keep_vars=True).items() if id(tensor) not in used]
    load_weights(network, state, tuple(spare), f"timm's {name}")
    scale = Renormalize(network.pretrained_cfg["mean"], network.pretrained_cfg["std"])
    blocks[0][:0] = [scale] if scale.matters else []
    pieces = [nn.Sequential(*piece) for piece in blocks]
    dropout = float(getattr(network, "drop_rate", None) or 0.0)
    backbone = Backbone(pieces, where.channels, dropout, ends=where.ends, expands=where.expands)
    if not next(network.parameters()).is_meta:
        _check(backbone, lambda images: network.forward_features(scale(images)), name)
    return backbone


def _joined(modules: list[nn.Module]) -> nn.Module:
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


class Renormalize(nn.Module):
    """From images normalised by ImageNet's mean and standard deviation to the ones that the weights were trained on.

    It stands before the first convolution, whose padding with zeros is then that of the network's own training.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

        self.matters = (tuple(mean), tuple(std)) != (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        ours, theirs = torch.tensor((IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)), torch.tensor((mean, std))
        scale, shift = ours[1] / theirs[1], (ours[0] - theirs[0]) / theirs[1]
        self.register_buffer("scale", scale[:, None, None], persistent=False)
        self.register_buffer("shift", shift[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale + self.shift


@torch.no_grad()
def _check(backbone: Backbone, whole: Callable[[Tensor], Tensor], name: str) -> None:
    """Raise ConfigError unless the pieces compute what the whole network does, and each leaves the maps before it."""
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    maps, copies = [images], [images.clone()]
    backbone.eval()
    for piece in backbone.pieces:
        maps.append(piece(maps[-1]))
        copies.append(maps[-1].clone())
    found = [*maps, whole(images)]
    backbone.train()
    for one, other in zip(found, [*copies, copies[-1]], strict=True):
        if not torch.allclose(one, other, rtol=1e-4, atol=1e-5, equal_nan=True):
            raise ConfigError(f"timm's {name} cannot be a backbone: its stages, run one by one, are not the network.")


def _download(name: str) -> StateDict:
    """Return the weights that timm has for a network, fetched on first use."""
    import timm

    with torch.random.fork_rng(devices=[]):  # the network is drawn before its weights come
        return dict(timm.create_model(name, pretrained=True).state_dict())
