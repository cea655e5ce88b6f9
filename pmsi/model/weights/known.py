"""Which network a file's weights are of: ours, or one of torchvision or timm, known by the shapes of its tensors.

Building all of timm's networks takes minutes, so ``assets/networks.json`` holds a signature of each:
``python -m pmsi.model.weights.known`` makes it anew with the libraries that are installed.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache

import torch
from torch import Tensor, nn

from pmsi.base.assets import ASSETS
from pmsi.base.errors import Fix, PMSIError
from pmsi.base.files import write_atomically
from pmsi.base.vision import models
from pmsi.model.weights.fitting import Network, places_of
from pmsi.model.weights.reading import Contents

Find = Callable[[Network], dict[str, Tensor]]

FILE = ASSETS / "networks.json"

DEEPEST = 6
"""Parts of a path that can stand before a network's own names, at most."""

TRIED, SAID = 8, 3
"""Networks with the same signature that are built and compared, and those that are named."""


def signature(shapes: Iterable[tuple[int, ...]]) -> str:
    """Return a short hash of the shapes of a network's convolutions, in any order; a classifier does not count."""
    text = str(sorted(tuple(shape) for shape in shapes if len(shape) > 2))
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def nearest(contents: Contents, ours: Iterable[str], make: Callable[[str, Find], object]) -> tuple[str, list[Fix]]:
    """Return a sentence that names the networks whose weights a file holds, and the changes that choose one.

    ``ours`` are backbones, and ``make(name, find)`` makes one, or one of timm, with weights that are to be found.
    """
    usable, others = [name for name in ours if _fits(name, contents, make)], []
    for title in _candidates(contents):
        library, _, name = title.partition(":")
        fits = _fits(title, contents, make) if library == "timm" else None
        if fits:
            usable.append(title)
        elif fits is None and (library == "timm" or _fits_torchvision(name, contents)):
            others.append(f"{library}'s {name}")
    if usable:
        fixes = [Fix(f"Choose {name}", {"backbone": name}) for name in usable[:SAID]]
        more = f" (or {' or '.join(usable[1:SAID])}, whose names are the same)" if usable[1:] else ""
        return f"They fit {usable[0]}{more}: choose that backbone.", fixes
    if others:
        return f"They look like those of {others[0]}, which cannot be a backbone here. Give the weights of another.", []
    return "No network known here fits, of torchvision or of timm. Choose the backbone that they were trained for.", []


def _fits(name: str, contents: Contents, make: Callable[[str, Find], object]) -> bool | None:
    """Return whether a file has the weights of a backbone; None if there is no such backbone here."""
    found = False

    def find(network: Network) -> dict[str, Tensor]:
        nonlocal found
        found = any(place.fits for place in places_of(network, contents.tensors))
        return {}

    try:
        with torch.device("meta"):
            make(name, find)
    except PMSIError:  # timm is not installed, or the network cannot be a backbone
        return None
    return found


def _fits_torchvision(name: str, contents: Contents) -> bool:
    try:
        with torch.device("meta"):
            network: nn.Module = models.get_model(name, weights=None)
    except Exception:  # some of torchvision's cannot be made without memory; their signature has to do
        return True
    last = list(network.state_dict())[-1].rpartition(".")[0]
    return any(place.fits for place in places_of(Network.of(name, network, last), contents.tensors))


def _candidates(contents: Contents) -> list[str]:
    """Return the networks that have the signature of some part of a file, those with short names first."""
    groups = defaultdict(list)
    for name, stored in contents.tensors.items():
        words = name.split(".")
        for depth in range(min(len(words), DEEPEST + 1)):
            groups[".".join(words[:depth])].append(stored.shape)
    found = {name for shapes in groups.values() for name in known().get(signature(shapes), ())}
    return sorted(found, key=lambda name: (len(name), name))[:TRIED]


@cache
def known() -> dict[str, list[str]]:
    """Return networks by signature, as ``torchvision:NAME`` and ``timm:NAME``."""
    found: dict[str, list[str]] = json.loads(FILE.read_text())
    return found


def signature_of(network: nn.Module) -> str:
    """Return the signature of a network."""
    return signature(tuple(value.shape) for value in network.state_dict().values())


def main() -> None:
    """Write the signatures of all networks of torchvision and timm."""
    import timm

    makers = {f"torchvision:{name}": (models.get_model, name) for name in models.list_models(module=models)}
    makers |= {f"timm:{name}": (timm.create_model, name) for name in timm.list_models()}
    found = defaultdict(list)
    for title, (make, name) in makers.items():
        try:
            with torch.device("meta"):
                network = make(name)
        except Exception:  # made with memory, then
            try:
                network = make(name)
            except Exception as error:  # a network may need what is not installed
                print(f"{title}: {error}")
                continue
        found[signature_of(network)].append(title)
    empty = signature([])
    lines = [f'"{key}": {json.dumps(names)}' for key, names in sorted(found.items()) if key != empty]
    write_atomically(FILE, "{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
