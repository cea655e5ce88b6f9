"""Lists with the classes or the splits of pictures, such as labels.csv: in a data set's folder, or in one inside it.

    id,breed                 file_name,label          images/0001.jpg beagle train
    0001,beagle              0001.jpg,beagle          images/0002.jpg collie test

Lists called train and test, or in folders called so, are splits. Lines of paths alone are splits of class folders.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pmsi.base.errors import DataError
from pmsi.data.dataset import Problem
from pmsi.data.readers.columns import List, Places, own_split, read_list
from pmsi.data.readers.splits import is_split_name, split_of
from pmsi.data.readers.tree import Tree, visible

MAX_BYTES = 2**28
SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl")
MOST_LISTS = 20
"""Lists in one folder; where there are more, as with a caption for each picture, those of `NAMES` are read."""

NAMES = ("labels", "metadata", "train", "test", "val", "annotations", "list")


@dataclass(frozen=True)
class Labels:
    """The content of the lists of a data set, in ``files``.

    ``title`` has the files and the columns that were read: "labels.csv (id, breed)". ``rows`` are key → (class, or None
    for that of its folder; split as it is written, or ""). ``problems`` are images whose class or split is unclear,
    ``absent`` counts rows that name no image.
    """

    files: tuple[Path, ...]
    title: str
    rows: dict[str, tuple[str | None, str]]
    problems: tuple[Problem, ...] = ()
    absent: int = 0


def find_labels(tree: Tree, column: str | None = None, encoding: str | None = None) -> Labels | None:
    """Return the lists of a tree, or None without lists, or if they say what the folders of classes say.

    ``column`` is the name of the column with the classes, ``encoding`` that of lists that are not in UTF-8. Raises
    DataError if no list has the column, or if the pictures lie in no class folders and the column cannot be told.
    """
    has_folders = sum(not is_split_name(name) for name in tree.tops()) > 1
    places = Places(tree)
    read = [read_list(path, places, column, encoding, not has_folders) for path in _candidates(tree)]
    lists = [one for one in read if one is not None]
    labelled = any(label is not None for one in lists for _, label, _ in one.rows)
    undecided = [f"{one.path.name} with {', '.join(map(repr, one.others))}" for one in lists if one.others]
    if not labelled and (column is not None or (undecided and not has_folders)):
        what = f"no list has the column {column!r}" if column else "which column has the classes cannot be told"
        raise DataError(
            f"{tree.root}: {what}. Found: {'; '.join(undecided) or 'no list of its images'}. Give a column's name as "
            "label_column."
        )
    merged = _merged(lists, tree.top)
    in_folders = _in_class_folders(merged.rows)
    if in_folders and column is None:
        merged = replace(merged, rows={key: (None, split) for key, (_, split) in merged.rows.items()})
    sides = {split_of(split) for _, split in merged.rows.values()}
    says_split = "train" in sides and len(sides - {None}) > 1
    return merged if says_split or (labelled and (not in_folders or column is not None)) else None


def _candidates(tree: Tree) -> list[Path]:
    """Return the files that may be lists, those further up first; not samples of what to hand in."""
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in tree.lists:
        if path.suffix.lower() in SUFFIXES and "submission" not in path.stem.lower():
            by_folder[path.parent].append(path)
    found = [
        path
        for paths in by_folder.values()
        for path in paths
        if (len(paths) <= MOST_LISTS or path.stem.lower() in NAMES) and path.stat().st_size <= MAX_BYTES
    ]
    return sorted(found, key=lambda path: (len(path.parts), path))


def _in_class_folders(rows: dict[str, tuple[str | None, str]]) -> bool:
    """Return whether the images lie in several folders, each with images of one class of the list."""
    by_folder: dict[PurePosixPath, set[str | None]] = defaultdict(set)
    for key, (label, _) in rows.items():
        by_folder[PurePosixPath(key).parent].add(label)
    return len(by_folder) > 1 and all(len(labels) == 1 for labels in by_folder.values())


def _merged(lists: Sequence[List], top: Path) -> Labels:
    """Return all lists as one; an image to which they give several classes or splits is a problem."""
    labels: dict[str, dict[str, str]] = defaultdict(dict)
    splits: dict[str, dict[str, str]] = defaultdict(dict)
    for one in lists:
        own = own_split(one.path, top)
        for key, label, split in one.rows:
            labels[key] |= {visible(label): label} if label is not None else {}
            splits[key] |= {split_of(split) or split: split} if split else {own: own} if own else {}
    rows, problems = {}, []
    for key, known in labels.items():
        if len(known) > 1 or len(splits[key]) > 1:
            said = ", ".join(map(repr, sorted(known if len(known) > 1 else splits[key])))
            problems.append(Problem(key, f"the list says several things of it: {said}"))
        elif "" in known:
            problems.append(Problem(key, "it has no class in the list"))
        else:
            rows[key] = (next(iter(known.values()), None), next(iter(splits[key].values()), ""))
    title = " and ".join(dict.fromkeys(f"{one.path.name} ({', '.join(one.columns)})" for one in lists))
    return Labels(tuple(one.path for one in lists), title, rows, tuple(problems), sum(one.absent for one in lists))
