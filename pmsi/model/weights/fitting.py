"""Where in a file a network's names fit: any nesting of dicts and any prefix of names, found from the names themselves.

A tensor's dotted path, ``state_dict.module.encoder_q.layer1.0.conv1.weight``, is a place and the network's own name. A
wrapper within a name (``layer1._orig_mod.0.conv1.weight``) is a part that no name of the network has.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pmsi.base.errors import CheckpointError, Fix
from pmsi.model.weights.reading import Contents, Stored

WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What torch's own wrappers put before a name: names that differ in these alone mean the same tensor."""

TOP = "."
"""The place of names without anything before them."""

NAMED = 3


class Unfit(CheckpointError):
    """The tensors of a file are those of another network."""


@dataclass
class Place:
    """A part of a file with names of a network: ``found`` by the network's names, ``others`` are unknown."""

    head: tuple[str, ...]
    found: dict[str, tuple[str, Stored]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    twice: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return ".".join(self.head) or TOP

    @property
    def fits(self) -> bool:
        return not (self.missing or self.wrong or self.others)

    @property
    def unlike(self) -> int:
        return len(self.missing) + len(self.wrong) + len(self.others)


@dataclass(frozen=True)
class Network:
    """What a network expects: tensors by name, without those of its classifier, which begin with ``spare``."""

    title: str
    expected: Mapping[str, Tensor]
    spare: tuple[str, ...]

    @classmethod
    def of(cls, title: str, network: torch.nn.Module, spare: str | tuple[str, ...]) -> "Network":
        """Return what ``network`` expects."""
        ends = (spare,) if isinstance(spare, str) else spare
        return cls(title, {k: v for k, v in network.state_dict().items() if not k.startswith(ends)}, ends)


def places_of(network: Network, tensors: Mapping[str, Stored]) -> list[Place]:
    """Return the places of a file where names of the network are, those that are most like it first."""
    names = network.expected.keys()
    parts = {part for name in names for part in name.split(".")}
    first = {name.partition(".")[0] for name in names}
    places: dict[tuple[str, ...], Place] = defaultdict(lambda: Place(()))
    within = defaultdict(list)
    wrapped = []
    for full, stored in tensors.items():
        words = tuple(full.split("."))
        for start in (start for start, word in enumerate(words) if word in first):
            head, rest = words[:start], words[start:]
            name = ".".join(word for word in rest if word in parts)
            within[head].append((full, ".".join(rest)))
            if name in names and name == ".".join(rest):
                places[head].found[name] = full, stored
            elif name in names and rest[-1] in parts:
                wrapped.append((head, name, full, stored, {word for word in rest if word not in parts}))
    for head, name, full, stored, wrappers in wrapped:
        if name not in places[head].found:
            places[head].found[name] = full, stored
        elif wrappers <= set(WRAPPERS):
            places[head].twice[name] = full
    for head, place in places.items():
        place.head = head
        taken = {full for full, _ in place.found.values()} | set(place.twice.values())
        place.others = [full for full, own in within[head] if full not in taken and not own.startswith(network.spare)]
        # Files older than torch 0.4.1, such as the ResNets', have no BatchNorm count of batches; nothing here uses it.
        place.missing = sorted(n for n in names if n not in place.found and not n.endswith("num_batches_tracked"))
        place.wrong = [n for n, (_, stored) in place.found.items() if stored.shape != tuple(network.expected[n].shape)]
    return sorted(places.values(), key=lambda place: (place.unlike, len(place.head)))


@dataclass(frozen=True)
class Taken:
    """The weights that were taken from a file, as the network names them, and what is said about that."""

    state: dict[str, Tensor]
    words: str


def take(network: Network, contents: Contents, part: str | None = None) -> Taken:
    """Return the network's weights in a file, from the place ``part`` where several fit.

    Raises CheckpointError where none fits, where several with different values do, or where values cannot be weights.
    """
    places = places_of(network, contents.tensors)
    fitting = [place for place in places if place.fits]
    if part is not None:
        fitting = _named(part, fitting, network, contents)
    if not fitting:
        raise _unfit(network, contents, places)
    states = [_values(network, contents, place) for place in fitting]
    if any(not _equal(states[0], other) for other in states[1:]):
        raise _several(network, contents, fitting)
    chosen = fitting[0]
    _check_twins(contents, chosen, places)
    return Taken(states[0], _words(network, contents, chosen, [place.name for place in fitting[1:]]))


def _named(part: str, fitting: list[Place], network: Network, contents: Contents) -> list[Place]:
    words = tuple(part.split(".")) if part != TOP else ()
    exact = [place for place in fitting if place.head == words]
    found = exact or [place for place in fitting if _contains(place.head, words)]
    found = found or [place for place in fitting if part and part in place.name]
    if not found:
        where = ", ".join(place.name for place in fitting) or "none"
        raise CheckpointError(
            f"weights_part = {part!r}: {contents.path} has no weights of {network.title} there. Places where they fit: "
            f"{where}.",
            fixes=_choices(fitting),
        )
    return found


def _contains(words: tuple[str, ...], part: tuple[str, ...]) -> bool:
    return any(words[start : start + len(part)] == part for start in range(len(words)))


def _several(network: Network, contents: Contents, fitting: list[Place]) -> CheckpointError:
    names = [place.name for place in fitting]
    return CheckpointError(
        f"{contents.path} has weights of {network.title} in {len(names)} places, and they differ: {', '.join(names)}. "
        f"Say which: weights_part = {names[0]!r}, for one.",
        fixes=_choices(fitting),
    )


def _choices(fitting: list[Place]) -> list[Fix]:
    return [Fix(f"Take {place.name}", {"weights_part": place.name}) for place in fitting]


def _unfit(network: Network, contents: Contents, places: list[Place]) -> CheckpointError:
    path = contents.path
    if contents.tensors and not places:
        name = next(iter(contents.tensors))
        why = f"none of its {len(contents.tensors)} names is one of that network ({name!r}, for one)"
        return Unfit(f"{path}: these weights are not those of {network.title}: {why}.")
    if contents.tensors:
        best = places[0]
        counts = f"{len(best.missing)} tensors missing, {len(best.others)} unknown, {len(best.wrong)} of another shape"
        example = (best.missing or best.others or best.wrong)[0]
        return Unfit(f"{path}: these weights are not those of {network.title}: {counts} ({example!r}, for one).")
    if contents.whole:
        return CheckpointError(
            f"{path} is a whole pickled model ({contents.whole}), and was not opened: that would run its code. Where "
            "it was made, save its weights alone: torch.save(model.state_dict(), FILE)."
        )
    other = f"; it holds {', '.join(list(contents.foreign)[:NAMED])}" if contents.foreign else ""
    return CheckpointError(f"{path} is not a state dict: there is no tensor in it{other}. Give the weights.")


def _check_twins(contents: Contents, chosen: Place, places: list[Place]) -> None:
    """Raise CheckpointError where a tensor is there twice, once behind a wrapper: which one is meant is not known."""
    twice = [(full, chosen.found[name][0]) for name, full in chosen.twice.items()]
    for other in places:
        if other is not chosen and not other.fits and _bare(other.head) == _bare(chosen.head):
            twice += [(full, chosen.found[name][0]) for name, (full, _) in other.found.items() if name in chosen.found]
    if twice:
        raise CheckpointError(
            f"{contents.path}: {twice[0][0]} stands beside {twice[0][1]}, and only one can be meant. Remove the other."
        )


def _bare(head: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for word in head if word not in WRAPPERS)


def _values(network: Network, contents: Contents, place: Place) -> dict[str, Tensor]:
    """Read a place's tensors as float32; raises CheckpointError, by name, for values that cannot be weights."""
    state = {}
    for name, (full, stored) in place.found.items():
        wanted = network.expected[name].dtype
        if wanted.is_floating_point and not stored.dtype.is_floating_point:
            raise _invalid(contents, full, f"is {_dtype(stored.dtype)}, where floating-point numbers were expected")
        try:
            value = stored.read().to(wanted)
        except Exception as error:  # damaged numbers make a reader raise almost anything
            raise _invalid(contents, full, f"cannot be read ({type(error).__name__}: {error})") from error
        if wanted.is_floating_point and not value.isfinite().all():
            raise _invalid(contents, full, "has values that are not finite")
        if name.endswith("running_var") and bool((value < 0).any()):
            raise _invalid(contents, full, "is a variance, and has values below 0")
        state[name] = value
    return state


def _invalid(contents: Contents, name: str, reason: str) -> CheckpointError:
    return CheckpointError(f"{contents.path}: {name} {reason}. Use another file.")


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _equal(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def _words(network: Network, contents: Contents, place: Place, alike: list[str]) -> str:
    """Return which weights were taken, as what, and what of the file was not."""
    where = f" in {place.name}" if place.head else ""
    same = f" (the same as in {', '.join(alike)})" if alike else ""
    dtypes = sorted({_dtype(stored.dtype) for _, stored in place.found.values() if stored.dtype.is_floating_point})
    as_float = "" if dtypes == ["float32"] else f", {' and '.join(dtypes)} read as float32"
    taken = {full for full, _ in place.found.values()}
    unused = [name for name in contents.tensors if name not in taken]
    more = f" and {len(unused) - NAMED} more" if len(unused) > NAMED else ""
    left = f"; not used: {', '.join(unused[:NAMED])}{more}" if unused else ""
    return f"{contents.path.name}: {len(taken)} tensors of {network.title}{where}{same}{as_float}{left}."
