"""Pictures in one folder per class, with a split of their own or with one drawn by a seed.

    flowers/train/daisy/1.jpg        flowers/daisy/train/1.jpg        flowers/daisy/1.jpg
    flowers/train/rose/2.jpg   or    flowers/rose/train/2.jpg   or    flowers/daisy/2.jpg
    flowers/test/daisy/3.jpg         flowers/daisy/test/3.jpg         flowers/rose/3.jpg

Splits are recognised by many names (`SPLITS`). Folders around the classes or splits are skipped. `Dataset.layout` and
`Dataset.notes` say how the layout was read.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pmsi.base.errors import DataError
from pmsi.base.seeding import SEED_BITS, derive
from pmsi.data.checking import Progress, Tested, assemble
from pmsi.data.dataset import Dataset, Problem, Sample
from pmsi.data.readers.lists import Labels, find_labels
from pmsi.data.readers.tree import File, Tree, counted, read_tree

SPLITS: dict[str, frozenset[str]] = {
    "train": frozenset(("train", "training", "trn", "trainval")),
    "test": frozenset(("test", "testing", "tst")),
    "val": frozenset(("val", "valid", "validation", "dev", "eval")),
}
"""Names of folders for each split, in lower case; also at the beginning or end of a name: train_crop, val2017."""

LAYOUT = "Expected train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg."


@dataclass(frozen=True)
class Labelled:
    """The images of one split, or of all: (class folder, file)."""

    images: list[tuple[str, File]]
    problems: list[Problem]

    def classes(self) -> set[str]:
        return {visible(name) for name, _ in self.images}


def folder(
    root: str | Path,
    *,
    test_fraction: float = 0.3,
    split: str = "content",
    split_seed: int = 0,
    test_on: str = "test",
    name: str | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Return the pictures below ``root`` as a data set with this ``name`` (default: the folder's).

    Keys are paths from the folder with the classes or splits. ``test_on`` is the split for testing, "test" (or "val" if
    there is no "test") or "val"; other splits are not used. Without splits, ``test_fraction`` of the images is drawn
    for testing by ``split_seed`` and `DRAWS[split]`. Classes are in the order of their names. Raises DataError for
    other layouts.
    """
    home = Path(root)
    if not home.is_dir():
        raise DataError(f"{home} is not a folder. {LAYOUT}")
    tree = unwrapped(read_tree(home))
    name = name or home.name
    draw = lambda good: DRAWS[split](good, test_fraction, split_seed)  # noqa: E731
    if (labels := find_labels(tree)) is not None:
        return _listed(tree, labels, name, draw, test_on, progress)
    roles = find_splits(tree)
    if roles is None:
        every = _labelled(tree.images)
        samples, classes, notes = _samples({"": every})
        tested: Tested = draw
        layout = f"no split of its own, {test_fraction:.0%} drawn for testing ({split}, seed {split_seed})"
        problems, passed_over = every.problems, tree.passed_over
    else:
        role = _tested_role(tree, roles, test_on)
        sides = {side: _labelled_in(roles, side) for side in ("train", role)}
        if not sides[role].images:
            raise DataError(_unlabelled(tree, roles, role))
        samples, classes, notes = _samples(sides)
        tested = {file.key for _, file in sides[role].images}
        layout = f"split {roles['train'].title} and {roles[role].title}"
        name += "" if role == "test" else f", tested on {roles[role].title}"
        problems = [problem for side in sides.values() for problem in side.problems]
        passed_over = tree.passed_over + _unused(tree, [roles["train"], roles[role]])
    dataset = assemble(name, classes, samples, tested, tree.root, progress)
    return replace(
        dataset,
        passed_over=dict(passed_over),
        layout=layout,
        problems=(*tree.problems, *problems, *dataset.problems),
        notes=(*dataset.notes, *notes),
    )


def _listed(
    tree: Tree,
    labels: Labels,
    name: str,
    draw: Tested,
    test_on: str,
    progress: Progress | None,
) -> Dataset:
    """Return the data set whose classes are in a list, with the list's splits if it has them."""
    said = {key: split_of(split) for key, (_, split) in labels.rows.items()}
    role = test_on if test_on in said.values() else "val"
    has_split = {"train", role} <= {*said.values()}
    used = {key for key in labels.rows if not has_split or said[key] in ("train", role)}
    every = Labelled([(labels.rows[file.key][0], file) for file in tree.images if file.key in used], [])
    samples, classes, notes = _samples({"": every})
    tested = {key for key in used if said[key] == role} if has_split else draw
    dataset = assemble(name, classes, samples, tested, tree.root, progress)
    unused = Counter(
        counted("in a split that is not used" if file.key in labels.rows else "not in the list", file.parts[-1])
        for file in tree.images
        if file.key not in used
    )
    layout = f"classes from {labels.title}, " + (f"its split train and {role}" if has_split else "test images drawn")
    absent = [f"{labels.absent} images of the list are not there."] if labels.absent else []
    return replace(
        dataset,
        passed_over=dict(tree.passed_over + unused),
        layout=layout,
        problems=(*tree.problems, *dataset.problems),
        notes=(*dataset.notes, *notes, *absent),
    )


# --- Splits by folder ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Role:
    """The images of one split: ``title`` is the name of its folder."""

    title: str
    files: list[File]
    depth: int
    """Index of the class in a file's parts: 1 for train/CLASS, 0 for CLASS/train."""


def split_of(name: str) -> str | None:
    """Return the split of a folder's name, "train", "test" or "val", or None."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).casefold())
    said = {split for split, known in SPLITS.items() if words and (words[0] in known or words[-1] in known)}
    return said.pop() if len(said) == 1 else None


def is_split_name(name: str) -> bool:
    """Return whether a whole name is one of `SPLITS`."""
    return any(name.casefold() in known for known in SPLITS.values())


def unwrapped(tree: Tree) -> Tree:
    """Return the tree of the folder with the classes or splits, without single folders around it."""
    while len(tops := tree.tops()) == 1:
        ((name, files),) = tops.items()
        deep = sum(len(file.parts) > 2 for file in files)
        if is_split_name(name) or 2 * deep <= len(files):
            break  # half a split, or a class
        tree = tree.below(name)
    return tree


def find_splits(tree: Tree) -> dict[str, Role] | None:
    """Return the splits by name, or None if the tree's folders are classes.

    Raises DataError if some folders look like splits, but the split is ambiguous.
    """
    tops = tree.tops()
    exact = [name for name in tops if is_split_name(name)]
    alike = [name for name in tops if split_of(name) and (name in exact or any(len(f.parts) > 2 for f in tops[name]))]
    for names in (exact, alike if len(alike) == len(tops) else []):
        by_role: dict[str, list[str]] = defaultdict(list)
        for name in names:
            by_role[split_of(name) or ""].append(name)
        if "train" in by_role and len(by_role) > 1 and all(len(found) == 1 for found in by_role.values()):
            return {role: Role(f"{name}/", tops[name], 1) for role, (name,) in by_role.items()}
    if exact and (len(alike) * 2 >= len(tops) or any(split_of(name) == "train" for name in exact)):
        raise DataError(_ambiguous(tree, tops, exact))
    if len(alike) == len(tops) > 1 and len({split_of(name) for name in alike}) > 1:
        raise DataError(_ambiguous(tree, tops, alike))
    return _splits_in_classes(tops)


def _splits_in_classes(tops: Mapping[str, list[File]]) -> dict[str, Role] | None:
    """Return the splits if they are folders in the classes' folders, else None."""
    roles: dict[str, Role] = {}
    for files in tops.values():
        for file in files:
            if len(file.parts) > 2:
                role = split_of(file.parts[1])
                if role is None:
                    return None
                roles.setdefault(role, Role(f"CLASS/{file.parts[1]}/", [], 0)).files.append(file)
    return roles if "train" in roles and len(roles) > 1 else None


def _tested_role(tree: Tree, roles: Mapping[str, Role], test_on: str) -> str:
    if test_on in roles:
        return test_on
    if test_on == "test":
        return "val"
    seen = ", ".join(role.title for role in roles.values())
    raise DataError(f"{tree.root} has no split for validation, only {seen}. Leave test_on at 'test'.")


def _ambiguous(tree: Tree, tops: Mapping[str, list[File]], names: Iterable[str]) -> str:
    seen = ", ".join(f"{name}/ ({len(tops[name]):,} images)" for name in sorted(names))
    only = f"has {seen} but no folder for testing" if {split_of(name) for name in names} == {"train"} else f"has {seen}"
    return (
        f"{tree.root} {only}: which images are for training and which for testing cannot be told. Expected one folder "
        "named train and one named test or val, each with class folders. Rename them, or give one of them itself, "
        f"such as {tree.root / min(names)}, to have it split."
    )


def _unlabelled(tree: Tree, roles: Mapping[str, Role], role: str) -> str:
    others = [f", or test_on = {other!r}" for other in ("val", "test") if other in roles and other != role]
    count, title = len(roles[role].files), roles[role].title
    return (
        f"{tree.root}: the {count:,} images in {title} lie in no class folder, so their classes are unknown. "
        f"Give the folder of training images itself to have it split{''.join(others)}."
    )


def _labelled_in(roles: Mapping[str, Role], role: str) -> Labelled:
    return _labelled(roles[role].files, roles[role].depth)


def _labelled(files: Iterable[File], depth: int = 0) -> Labelled:
    found = Labelled([], [])
    for file in files:
        if len(file.parts) > depth + 1:
            found.images.append((file.parts[depth], file))
        else:
            found.problems.append(Problem(file.key, "it lies in no class folder"))
    return found


def _unused(tree: Tree, used: Iterable[Role]) -> Counter[str]:
    """Return the counts of images outside the splits that are used."""
    taken = {file.key for role in used for file in role.files}
    return Counter(
        counted(
            f"in {file.parts[0]}/, which is not used" if len(file.parts) > 1 else "beside the splits", file.parts[-1]
        )
        for file in tree.images
        if file.key not in taken
    )


# --- Classes ---------------------------------------------------------------------------------------------------------


def visible(name: str) -> str:
    """Return a class's name in Unicode NFC, without blanks at its ends."""
    return unicodedata.normalize("NFC", name).strip() or name


def _samples(sides: Mapping[str, Labelled]) -> tuple[list[Sample], list[str], list[str]]:
    """Return the samples of all sides in the order of their keys, the classes, and notes about merged names."""
    spellings, notes = _spellings(sides.values())
    found = [(file, spellings[visible(name)]) for side in sides.values() for name, file in side.images]
    classes = sorted({name for _, name in found})
    labels = {name: label for label, name in enumerate(classes)}
    samples = [Sample(file.key, labels[name], file.path) for file, name in sorted(found, key=lambda pair: pair[0].key)]
    raw = defaultdict(set)
    for side in sides.values():
        for name, _ in side.images:
            raw[visible(name)].add(name)
    notes += [
        f"The folders {_all(names)} are read as one class {name!r}." for name, names in raw.items() if len(names) > 1
    ]
    return samples, classes, notes


def _spellings(sides: Iterable[Labelled]) -> tuple[dict[str, str], list[str]]:
    """Return {visible name: class} and notes; names that differ only in capitals, unless one letter, are one class."""
    known = [side.classes() for side in sides]
    groups: dict[str, list[str]] = defaultdict(list)
    for names in known:
        for name in sorted(names):
            if name not in groups[name.casefold()]:
                groups[name.casefold()].append(name)
    spellings = {name: name for alike in groups.values() for name in alike}
    notes = []
    for alike in groups.values():
        said = f"The classes {_all(alike)} differ only in capital letters and are"
        if len(alike) > 1 and len(alike[0]) == 1 and any(len(names & {*alike}) > 1 for names in known):
            notes.append(f"{said} kept apart.")
        elif len(alike) > 1:
            spellings |= dict.fromkeys(alike, alike[0])
            notes.append(f"{said} read as one, {alike[0]!r}.")
    return spellings, notes


def _all(names: Iterable[str]) -> str:
    return " and ".join(map(repr, sorted(names)))


# --- Splits by a seed ------------------------------------------------------------------------------------------------


def by_content(samples: Iterable[Sample], test_fraction: float, seed: int) -> set[str]:
    """Return the keys of the test images: each is drawn with probability ``test_fraction``, by a hash of its pixels.

    So an image's side does not change when other images come or go, and equal images are on the same side. A small
    class may have no test image. If all images of a class are drawn, the last stays for training. If no image is drawn
    at all, the first of each class with two or more images is a test image.
    """
    by_class: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for sample in samples:
        chance = derive(seed, "test", sample.digest or sample.key) / 2**SEED_BITS
        by_class[sample.label].append((chance, sample.key))
    chosen: set[str] = set()
    for drawn in by_class.values():
        limit = min(test_fraction, max(drawn)[0])
        chosen.update(key for chance, key in drawn if chance < limit)
    return chosen or {min(drawn)[1] for drawn in by_class.values() if len(drawn) > 1}


def stratified(samples: Iterable[Sample], test_fraction: float, seed: int) -> set[str]:
    """Return the keys of the test images: the same share of each class, drawn by a hash of the images' keys.

    A class with two or more images has at least one on either side; a single image is for training.
    """
    by_class = defaultdict(list)
    for sample in samples:
        by_class[sample.label].append(sample.key)
    chosen: set[str] = set()
    for keys in by_class.values():
        count = min(max(round(len(keys) * test_fraction), 1), len(keys) - 1)
        chosen.update(sorted(keys, key=lambda key: derive(seed, "test", key))[:count])
    return chosen


DRAWS: dict[str, Callable[[Iterable[Sample], float, int], set[str]]] = {
    "content": by_content,
    "stratified": stratified,
}
"""Ways to draw the test images of a collection without a split: (samples, share, seed) → their keys."""
