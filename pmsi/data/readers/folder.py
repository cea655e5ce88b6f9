"""Pictures in one folder per class, with a split of their own or with one drawn by a seed.

    flowers/train/daisy/1.jpg        flowers/daisy/train/1.jpg        flowers/daisy/1.jpg
    flowers/train/rose/2.jpg   or    flowers/rose/train/2.jpg   or    flowers/daisy/2.jpg
    flowers/test/daisy/3.jpg         flowers/daisy/test/3.jpg         flowers/rose/3.jpg

Splits are recognised by many names (`pmsi.data.readers.splits`), and lists of images are read
(`pmsi.data.readers.lists`). Folders around the classes or splits are skipped. `Dataset.layout` and `Dataset.notes` say
how the layout was read.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

from pmsi.base.errors import DataError
from pmsi.base.seeding import SEED_BITS, derive
from pmsi.data.checking import Progress, Tested, assemble
from pmsi.data.dataset import Dataset, Problem, Sample, drawn_of_each
from pmsi.data.readers.lists import Labels, find_labels
from pmsi.data.readers.parquet import unpacked_tables
from pmsi.data.readers.splits import is_split_name, split_of
from pmsi.data.readers.tree import File, Tree, counted, read_tree, visible

MOST_PREVIEWS = 10
"""Images that may lie beside Parquet files, as on a data set's card."""

LAYOUT = "Expected train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg."


@dataclass(frozen=True)
class Side:
    """The images of one split, or of all: (class folder, file). ``title`` is what the split is called there."""

    title: str
    images: list[tuple[str, File]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, file: File, depth: int) -> None:
        """Add an image whose class is the folder at ``depth`` in its path."""
        if -len(file.parts) <= depth < len(file.parts) - 1:
            self.images.append((file.parts[depth], file))
        else:
            self.problems.append(Problem(file.key, "it lies in no class folder"))

    def classes(self) -> set[str]:
        return {visible(name) for name, _ in self.images}


def folder(
    root: str | Path,
    *,
    test_fraction: float = 0.3,
    split: str = "content",
    split_seed: int = 0,
    test_on: str = "test",
    label_column: str | None = None,
    encoding: str | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Return the pictures below ``root`` as a data set with this ``name`` (default: the folder's).

    Keys are paths from the folder with the classes or splits. ``test_on`` is the split for testing, "test" (or "val" if
    there is no "test") or "val"; other splits are not used. Without splits, ``test_fraction`` of the images is drawn
    for testing by ``split_seed`` and `DRAWS[split]`. Classes are in the order of their names. ``label_column`` and
    ``encoding`` are for lists (`pmsi.data.readers.lists`). Raises DataError for other layouts.
    """
    home = Path(root)
    if not home.is_dir():
        raise DataError(f"{home} is not a folder. {LAYOUT}")
    tree, name = unwrapped(read_tree(home)), name or home.name
    if len(tree.images) <= MOST_PREVIEWS and any(path.suffix.lower() == ".parquet" for path in tree.lists):
        read = partial(folder, test_fraction=test_fraction, split=split, split_seed=split_seed, test_on=test_on)
        return _tables(tree, label_column, progress, partial(read, name=name, progress=progress))
    labels = find_labels(tree, label_column, encoding)
    sides = find_splits(tree) if labels is None else _listed(tree, labels)
    role = _tested_role(tree, sides, test_on)
    if role is None:
        used = {"": sides[""]}
        layout = f"no split of its own, {test_fraction:.0%} drawn for testing ({split}, seed {split_seed})"
        tested: Tested = lambda good: DRAWS[split](good, test_fraction, split_seed)  # noqa: E731
    else:
        used = {side: sides[side] for side in ("train", role)}
        if not used[role].images:
            raise DataError(_unlabelled(tree, sides, role))
        layout = f"split {used['train'].title} and {used[role].title}"
        tested = {file.key for _, file in used[role].images}
        name += "" if role == "test" else f", tested on {used[role].title}"
    samples, classes, notes = _samples(used)
    dataset = assemble(name, classes, samples, tested, tree.root, progress)
    beside = [problem for side in used.values() for problem in side.problems]
    if labels is not None:
        beside += labels.problems
        layout = f"lists {labels.title}, {layout}"
        if labels.absent:
            notes.append(f"Rows of the lists that name no image here, or several: {labels.absent:,}.")
    else:
        notes += _about_folders(tree, used)
    return replace(
        dataset,
        passed_over=dict(_passed_over(tree, used, labels)),
        layout=layout,
        tested_on=role or "",
        problems=(*tree.problems, *beside, *dataset.problems),
        notes=(*dataset.notes, *notes),
    )


def _about_folders(tree: Tree, used: Mapping[str, Side]) -> Iterator[str]:
    """Yield sentences about folders of classes without images, and folders inside those of classes."""
    homes = {tree.root / side.title for side in used.values()}
    if bare := [folder.name for folder in tree.bare if folder.parent in homes]:
        yield f"Folders beside the classes without an image: {_some(bare)}."
    inside = [
        file.parts[place + 1]
        for side in used.values()
        for name, file in side.images
        if len(file.parts) > (place := file.parts.index(name)) + 2 and not split_of(file.parts[place + 1])
    ]
    if 2 * len(inside) > sum(len(side.images) for side in used.values()):
        names = sorted({*inside})
        yield (
            f"Folders inside the classes are read as part of them: {_some(names)}. If these are the classes, move them "
            "up."
        )


def _some(names: Sequence[str]) -> str:
    return f"{len(names)} ({', '.join(map(repr, names[:3]))}{', …' if len(names) > 3 else ''})"


def _tables(
    tree: Tree, label_column: str | None, progress: Progress | None, read: Callable[[Path], Dataset]
) -> Dataset:
    """Return the data set in the Parquet files of a tree; ``read`` reads what they are unpacked to."""
    tables = [path for path in tree.lists if path.suffix.lower() == ".parquet"]
    dataset = read(unpacked_tables(tables, tree.top, label_column, progress))
    beside = Counter(counted("beside the Parquet files", file.parts[-1]) for file in tree.images)
    other = tree.passed_over - Counter(counted("not an image", path.name) for path in tables)
    return replace(
        dataset,
        layout=f"{len(tables)} Parquet files, {dataset.layout}",
        problems=(*tree.problems, *dataset.problems),
        passed_over=dict(other + beside + Counter(dataset.passed_over)),
    )


def _passed_over(tree: Tree, used: Mapping[str, Side], labels: Labels | None) -> Counter[str]:
    """Return the counts of files that are not used, without the lists that are."""
    taken = {file.key for side in used.values() for _, file in side.images}
    taken |= {problem.key for side in used.values() for problem in side.problems}
    taken |= {problem.key for problem in labels.problems} if labels is not None else set()
    left = [file for file in tree.images if file.key not in taken]
    counts = tree.passed_over + Counter(counted(_why_not(file, labels), file.parts[-1]) for file in left)
    if labels is not None:
        counts -= Counter(counted("not an image", path.name) for path in labels.files)
    return counts


def _why_not(file: File, labels: Labels | None) -> str:
    if labels is not None:
        return "in a split that is not used" if file.key in labels.rows else "not in the list"
    return f"in {file.parts[0]}/, which is not used" if len(file.parts) > 1 else "beside the splits"


# --- Splits ----------------------------------------------------------------------------------------------------------


def unwrapped(tree: Tree) -> Tree:
    """Return the tree of the folder with the classes or splits, without single folders around it."""
    while len(tops := tree.tops()) == 1:
        ((name, files),) = tops.items()
        deep = sum(len(file.parts) > 2 for file in files)
        if is_split_name(name) or 2 * deep <= len(files):
            break  # half a split, or a class
        tree = tree.below(name)
    return tree


def _listed(tree: Tree, labels: Labels) -> dict[str, Side]:
    """Return the sides that the lists tell, or the folders of their images, or one side of all."""
    splits = {key: split_of(split) if split else None for key, (_, split) in labels.rows.items()}
    if not any(splits.values()):
        splits = {key: split_of(PurePosixPath(key).parts[0]) if "/" in key else None for key in labels.rows}
        splits = splits if all(splits.values()) else {}
    has_split = len({*splits.values()} - {None}) > 1
    sides: dict[str, Side] = {}
    for file in tree.images:
        role = splits.get(file.key) if has_split else ""
        if file.key in labels.rows and role is not None:
            label, split = labels.rows[file.key]
            side = sides.setdefault(role, Side(split or role))
            if label is None:
                side.add(file, -2)
            else:
                side.images.append((label, file))
    if has_split and "train" not in sides:
        seen = ", ".join(f"{side.title} ({len(side.images):,} images)" for side in sides.values())
        raise DataError(f"{tree.root}: {labels.title} has {seen} and no images for training. Name their split train.")
    return sides


def find_splits(tree: Tree) -> dict[str, Side]:
    """Return the splits by name, or all images as the split "" if the tree's folders are classes.

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
            return {role: _side(f"{name}/", tops[name], 1) for role, (name,) in by_role.items()}
    if exact and (len(alike) * 2 >= len(tops) or any(split_of(name) == "train" for name in exact)):
        raise DataError(_ambiguous(tree, tops, exact))
    if len(alike) == len(tops) > 1 and len({split_of(name) for name in alike}) > 1:
        raise DataError(_ambiguous(tree, tops, alike))
    return _splits_in_classes(tops) or {"": _side("", tree.images, 0)}


def _side(title: str, files: Iterable[File], depth: int) -> Side:
    side = Side(title)
    for file in files:
        side.add(file, depth)
    return side


def _splits_in_classes(tops: Mapping[str, list[File]]) -> dict[str, Side] | None:
    """Return the splits if they are folders in the classes' folders, else None."""
    sides: dict[str, Side] = {}
    for files in tops.values():
        for file in files:
            if len(file.parts) > 2:
                role = split_of(file.parts[1])
                if role is None:
                    return None
                sides.setdefault(role, Side(f"CLASS/{file.parts[1]}/")).add(file, 0)
    return sides if "train" in sides and len(sides) > 1 else None


def _tested_role(tree: Tree, sides: Mapping[str, Side], test_on: str) -> str | None:
    """Return the split to test on, or None if it is to be drawn."""
    if test_on in sides:
        return test_on
    if test_on == "test":
        return None if "" in sides else "val"
    seen = ", ".join(side.title for side in sides.values() if side.title)
    has = f"only {seen}" if seen else "none at all"
    raise DataError(f"{tree.root} has no split for validation, {has}. Leave test_on at 'test'.")


def _ambiguous(tree: Tree, tops: Mapping[str, list[File]], names: Iterable[str]) -> str:
    seen = ", ".join(f"{name}/ ({len(tops[name]):,} images)" for name in sorted(names))
    only = f"has {seen} but no folder for testing" if {split_of(name) for name in names} == {"train"} else f"has {seen}"
    return (
        f"{tree.root} {only}: which images are for training and which for testing cannot be told. Expected one folder "
        "named train and one named test or val, each with class folders. Rename them, or give one of them itself, "
        f"such as {tree.root / min(names)}, to have it split."
    )


def _unlabelled(tree: Tree, sides: Mapping[str, Side], role: str) -> str:
    others = [f", or test_on = {other!r}" for other in ("val", "test") if other in sides and other != role]
    return (
        f"{tree.root}: the {len(sides[role].problems):,} images in {sides[role].title} lie in no class folder, so "
        f"their classes are unknown. Give the folder of training images itself to have it split{''.join(others)}."
    )


# --- Classes ---------------------------------------------------------------------------------------------------------


def _samples(sides: Mapping[str, Side]) -> tuple[list[Sample], list[str], list[str]]:
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


def _spellings(sides: Iterable[Side]) -> tuple[dict[str, str], list[str]]:
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
    return drawn_of_each(samples, lambda count: min(max(round(count * test_fraction), 1), count - 1), seed, "test")


DRAWS: dict[str, Callable[[Iterable[Sample], float, int], set[str]]] = {
    "content": by_content,
    "stratified": stratified,
}
"""Ways to draw the test images of a collection without a split: (samples, share, seed) → their keys."""
