"""List, check, preview and import data sets; what a run got wrong; the cache."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from pmsi.base.errors import lookup
from pmsi.base.files import to_json
from pmsi.base.text import printable
from pmsi.cli.console import image_counter
from pmsi.cli.flags import TRAINED, add_like, add_runs, folder, path, place, whole
from pmsi.cli.output import picture_format, save_picture, text_of
from pmsi.config import TrainConfig
from pmsi.data import DATASETS, official_of, open_dataset, summary
from pmsi.data.checking import cache_folder
from pmsi.data.duplicates import Member
from pmsi.data.importing import import_dataset, imported_sets
from pmsi.data.record import DataRecord
from pmsi.pictures.classes import boxed
from pmsi.pictures.sheets import CLASSES_PER_PAGE, contact_sheet
from pmsi.runs import Run
from pmsi.runs.disk import in_words
from pmsi.runs.mistakes import RANKINGS, ImagePrediction, confusions, read_predictions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="The data sets that can be read.", description="The data sets that can be read.")
    for name, help in {
        "check": "Read a data set, check every image, and print its classes, counts and problems.",
        "preview": "Write a contact sheet: some images of each class.",
        "images": "List the images of a data set: split, class, and the key that names an image.",
    }.items():
        action = actions.add_parser(name, help=help, description=help)
        add_like(action, "dataset", "Data set", metavar="NAME")
        action.add_argument(
            "--data", type=place, metavar="DIR", help="Its folder, or a zip or tar of it, where it is not built in."
        )
        add_like(action, "test_on", "Split of a folder that is tested on", metavar="NAME")
        add_like(action, "split", "How test images are drawn where a folder has no split", metavar="NAME")
        _add_reading(action)
        if name != "preview":
            action.add_argument("--json", action="store_true", help="Print JSON.")
        if name == "images":
            action.add_argument("--class", dest="class_name", metavar="NAME", help="Only those of this class.")
        if name == "preview":
            action.add_argument(
                "--columns", type=whole(1, 50), default=6, metavar="N", help="Images of each class [6]."
            )
            help = "Page, from 1, where there are more classes than one sheet holds [1]."
            action.add_argument("--page", type=whole(1, 10**6), default=1, metavar="N", help=help)
            help = "Boxes around the parts that distinguish each class, where they are known (plumage)."
            action.add_argument("--parts", action="store_true", help=help)
            action.add_argument("--out", type=path, required=True, metavar="FILE", help="Picture to write.")
    help = "Copy class folders, or a zip of them, into a new data set; every picture is checked."
    action = actions.add_parser("import", help=help, description=help)
    action.add_argument("source", type=path, metavar="SOURCE", help="Folder of class folders, or a zip or tar of it.")
    _add_reading(action)
    action.add_argument("--name", required=True, metavar="NAME", help="Name of the new data set, not yet taken.")
    action.add_argument("--into", type=folder, metavar="DIR", help="Folder of data sets [$PMSI_DATASETS, else data].")
    help = "Show the cache: unpacked zips, decoded images, which images were checked."
    action = actions.add_parser("cache", help=help, description=f"{help} $PMSI_CACHE is its folder [~/.cache/pmsi].")
    action.add_argument("--clear", action="store_true", help="Remove what no process uses.")
    help = "Mistakes of a training run: the hardest test images, and the most confused classes."
    action = actions.add_parser("mistakes", help=help, description=help)
    action.add_argument("run", metavar="RUN", help=TRAINED)
    action.add_argument("--head", metavar="NAME", help="Output: S3, concat, mix … [the primary one].")
    help = f"Which images come first ({' | '.join(RANKINGS)}) [hardest]."
    action.add_argument("--order", choices=tuple(RANKINGS), default="hardest", metavar="NAME", help=help)
    action.add_argument("--count", type=whole(1, 10**6), default=10, metavar="N", help="Lines of each list [10].")
    action.add_argument("--json", action="store_true", help="Print JSON.")
    add_runs(action)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    help = "Encoding of names in a zip or list, where it does not say it."
    parser.add_argument("--name-encoding", metavar="NAME", help=help)
    help = "Column with the classes, where a list of images has several."
    parser.add_argument("--label-column", metavar="NAME", help=help)


def run(typed: argparse.Namespace) -> int:
    """Run the typed action."""
    return ACTIONS[typed.action](typed)


def _list(typed: argparse.Namespace) -> int:
    for name, row in DATASETS.items():
        print(f"{name:10} {row.title}: {row.help}")
    for name, where in imported_sets().items():
        print(f"folder     {name} (imported): --data {text_of(where)}")
    return 0


def _config(typed: argparse.Namespace) -> TrainConfig:
    names = ("dataset", "data", "test_on", "split", "name_encoding", "label_column")
    return TrainConfig(**{name: getattr(typed, name) for name in names})


def _read(typed: argparse.Namespace) -> int:
    """Check a data set, or write its contact sheet."""
    if typed.action == "preview":
        picture_format(typed.out)
    with image_counter(sys.stderr, "images checked") as progress:
        dataset = open_dataset(_config(typed), progress)
    if typed.action == "preview":
        opened = partial(boxed, dataset) if typed.parts else None
        sheet = contact_sheet(dataset, typed.columns, typed.page, opened)
        save_picture(sheet.picture, typed.out)
        print(typed.out)
        if len(dataset.classes) > CLASSES_PER_PAGE:
            print(sheet.words, file=sys.stderr)
        return 0
    about = {"digest": DataRecord.of(dataset).digest} | summary(dataset, official_of(DATASETS[typed.dataset], dataset))
    print(to_json(about, indent=1) if typed.json else _readable(about))
    return 0


def _readable(about: Mapping[str, Any]) -> str:
    """Return the summary of a data set as lines of text."""
    classes = about["classes"]
    lines = [f"{about['name']}: {len(classes)} classes, {about['train']} training and {about['test']} test images"]
    lines += [about["completeness"]] if about["completeness"] else []
    lines += [f"  {count['train']:5} {count['test']:5}  {name}" for name, count in classes.items()]
    lines += [f"Read as: {about['read_as']}.", *about["notes"]]
    if untested := [name for name, count in classes.items() if not count["test"]]:
        some = ", ".join([*untested[:5], "…"] if len(untested) > 5 else untested)
        lines.append(f"Classes without a test image: {len(untested)} ({some}).")
    lines.append(f"Digest of classes, images and split: {about['digest']}")
    lines += [*_passed_over(about["passed_over"]), *_left_out(about["problems"]), *_same(about["duplicates"])]
    return "\n".join(printable(line, keep="") for line in lines)


def _passed_over(counts: Mapping[str, int]) -> list[str]:
    lines = [f"  {count:5}  {reason}" for reason, count in sorted(counts.items())]
    return ["Passed over:" if counts else "Passed over: nothing.", *lines]


def _left_out(problems: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the images that were left out as lines of text."""
    first = f"Images left out: {len(problems)}" + (":" if problems else ".")
    return [first, *(f"  {problem['key']}: {problem['reason']}" for problem in problems)]


def _same(found: Mapping[str, Any], shown: int = 20) -> list[str]:
    """Return the pairs of images that are the same picture as lines of text."""
    pairs = found["pairs"]
    lines = [
        "  " + (" = " if pair["exact"] else " ≈ ").join(Member(**image).words for image in pair["images"])
        for pair in pairs[:shown]
    ]
    more = [f"  … and {len(pairs) - shown:,} more, which --json lists."] if len(pairs) > shown else []
    return [found["words"] or "Duplicates across splits or classes: none.", *lines, *more]


def _images(typed: argparse.Namespace) -> int:
    """List the images of a data set, all or those of one class."""
    with image_counter(sys.stderr, "images checked") as progress:
        dataset = open_dataset(_config(typed), progress)
    if typed.class_name is not None:
        lookup("class", {name: name for name in dataset.classes}, typed.class_name)
    found = [
        {"split": split, "class": dataset.classes[sample.label], "key": sample.key, "box": sample.box}
        for split in ("train", "test")
        for sample in dataset.split(split)
        if typed.class_name in (None, dataset.classes[sample.label])
    ]
    lines = (printable(f"{about['split']:5}  {about['class']}  {about['key']}", keep="") for about in found)
    print(to_json(found, indent=1) if typed.json else "\n".join(lines))
    return 0


def _import(typed: argparse.Namespace) -> int:
    with image_counter(sys.stderr, "images") as progress:
        done = import_dataset(
            typed.source,
            typed.name,
            root=typed.into,
            progress=progress,
            encoding=typed.name_encoding,
            label_column=typed.label_column,
        )
    print(f"{text_of(done.folder)}: {done.classes} classes, {done.images} images")
    print(f"Read as: {done.read_as}.")
    print("\n".join(_passed_over(done.passed_over)))
    print("\n".join(_left_out([{"key": problem.key, "reason": problem.reason} for problem in done.problems])))
    return 0


def _cache(typed: argparse.Namespace) -> int:
    """Print the size of the cache, or remove what no process uses."""
    from pmsi.data.cache import clear as cache  # torch, which the other actions do without

    found = cache.clear() if typed.clear else cache.usage()
    total = in_words(sum(taken.size for taken in found.values()))
    used = sum(taken.size for taken in cache.usage().values()) if typed.clear else 0
    left = " removed" if typed.clear else ""
    left += f"; {in_words(used)} are in use" if used else ""
    print(f"{text_of(cache_folder())}: {total}{left}")
    for name, taken in found.items():
        print(f"  {in_words(taken.size):>7}  {taken.things:4}  {cache.SECTIONS[name].title}")
    return 0


def _mistakes(typed: argparse.Namespace) -> int:
    """Print the hardest images of a run and the classes that it confuses, named by the run's own classes."""
    predictions = read_predictions(Run.open(typed.runs, typed.run))
    head, names = typed.head or predictions.primary, predictions.classes
    title, ranked = RANKINGS[typed.order]
    images, pairs = ranked(predictions, head)[: typed.count], confusions(predictions, head)[: typed.count]
    if typed.json:
        about = {"head": head, "classes": names, typed.order: [*map(asdict, images)], "confused": [*map(asdict, pairs)]}
        print(to_json(about, indent=1))
        return 0
    print(f"{title} images at output {head}:")
    for image in images:
        said = "right" if image.predicted == image.label else f"taken for {names[image.predicted]}"
        print(f"  {image.key}: {names[image.label]}, {said}, {_how_sure(image)}")
    print("Most confused classes:")
    for pair in pairs:
        print(f"  {pair.count} of {pair.images}  {names[pair.a]} and {names[pair.b]}")
    return 0


def _how_sure(image: ImagePrediction) -> str:
    """Return the probabilities of the predicted and the true class, or how many heads are right."""
    if image.truth is None or image.confidence is None:
        return f"{image.heads_right} of {image.heads} heads right"
    return f"p = {image.confidence:.3f}, of the truth {image.truth:.3f}"


ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "check": _read,
    "preview": _read,
    "images": _images,
    "import": _import,
    "cache": _cache,
    "mistakes": _mistakes,
}
"""The function of each action."""
