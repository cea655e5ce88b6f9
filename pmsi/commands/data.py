"""Commands about data sets: list, check, draw a contact sheet, name the images, import, and what a run got wrong."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pmsi.commands.grid import training_config
from pmsi.commands.output import picture_format, save_picture, text_of
from pmsi.config import TrainConfig
from pmsi.errors import lookup
from pmsi.files import to_json
from pmsi.keeping.disk import in_words
from pmsi.watching import counting

if TYPE_CHECKING:
    from pmsi.mistakes import Answer

Arguments = argparse.Namespace


def data(typed: Arguments) -> int:
    """Do what was asked for with data sets."""
    return ACTIONS[typed.action](typed)


def _list(typed: Arguments) -> int:
    from pmsi.data import DATASETS
    from pmsi.data.importing import imported_sets

    for name, row in DATASETS.items():
        print(f"{name:10} {row.title}: {row.help}")
    for name, place in imported_sets().items():
        print(f"folder     {name} (imported): --data {text_of(place)}")
    return 0


def _config(typed: Arguments) -> TrainConfig:
    names = ("dataset", "data", "test_on", "split", "name_encoding")
    return TrainConfig(**{name: getattr(typed, name) for name in names})


def _read(typed: Arguments) -> int:
    """Check a data set, or write its contact sheet."""
    from pmsi.data import DATASETS, open_dataset, summary

    if typed.action == "preview":
        picture_format(typed.out)
    with counting(sys.stderr, "images checked") as progress:
        dataset = open_dataset(_config(typed), progress)
    if typed.action == "preview":
        from pmsi.data.preview import contact_sheet

        save_picture(contact_sheet(dataset, typed.columns), typed.out)
        print(typed.out)
        return 0
    about = summary(dataset, DATASETS[typed.dataset].official)
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
        lines += [
            f"Classes without a test image: {len(untested)} ({', '.join(untested[:5])}{', …' * (len(untested) > 5)})."
        ]
    lines += ["Passed over:"] * bool(about["passed_over"])
    lines += [f"  {count:5}  {reason}" for reason, count in sorted(about["passed_over"].items())]
    return "\n".join([*lines, *_left_out(about["problems"])])


def _left_out(problems: Sequence[Mapping[str, str]]) -> list[str]:
    """Return what was left out as lines of text."""
    first = f"Images left out: {len(problems)}" + (":" if problems else ".")
    return [first, *(f"  {problem['key']}: {problem['reason']}" for problem in problems)]


def _images(typed: Arguments) -> int:
    """List the images of a data set, all or those of one class."""
    from pmsi.data import open_dataset

    with counting(sys.stderr, "images checked") as progress:
        dataset = open_dataset(_config(typed), progress)
    if typed.class_name is not None:
        lookup("class", {name: name for name in dataset.classes}, typed.class_name)
    found = [
        {"split": split, "class": dataset.classes[sample.label], "key": sample.key, "box": sample.box}
        for split in ("train", "test")
        for sample in dataset.split(split)
        if typed.class_name in (None, dataset.classes[sample.label])
    ]
    lines = (f"{about['split']:5}  {about['class']}  {about['key']}" for about in found)
    print(to_json(found, indent=1) if typed.json else "\n".join(lines))
    return 0


def _import(typed: Arguments) -> int:
    from pmsi.data.importing import import_dataset

    with counting(sys.stderr, "images") as progress:
        done = import_dataset(
            typed.source, typed.name, root=typed.into, progress=progress, encoding=typed.name_encoding
        )
    print(f"{text_of(done.folder)}: {done.classes} classes, {done.images} images")
    print("\n".join(_left_out([{"key": problem.key, "reason": problem.reason} for problem in done.problems])))
    return 0


def _cache(typed: Arguments) -> int:
    """Print what is kept between runs, or clear it of what no process uses."""
    from pmsi.data.checking import cache_folder
    from pmsi.keeping import cache

    found = cache.clear() if typed.clear else cache.taken()
    total = in_words(sum(taken.size for taken in found.values()))
    used = sum(taken.size for taken in cache.taken().values()) if typed.clear else 0
    left = f" removed; {in_words(used)} are in use" if used else " removed" if typed.clear else ""
    print(f"{text_of(cache_folder())}: {total}{left}")
    for name, taken in found.items():
        print(f"  {in_words(taken.size):>7}  {taken.things:4}  {cache.SHELVES[name].title}")
    return 0


def _mistakes(typed: Arguments) -> int:
    """Print the hardest images of a run and the classes that it confuses."""
    from dataclasses import asdict

    from pmsi.data import open_dataset
    from pmsi.mistakes import RANKINGS, confusions, read_answers
    from pmsi.runs import Run

    run = Run.open(typed.runs, typed.run)
    answers, config = read_answers(run), training_config(run)
    head = typed.head or answers.primary
    title, ranked = RANKINGS[typed.order]
    images, pairs = ranked(answers, head)[: typed.count], confusions(answers, head)[: typed.count]
    with counting(sys.stderr, "images checked") as progress:
        names = open_dataset(config, progress).classes
    if typed.json:
        about = {"head": head, "classes": names, typed.order: [*map(asdict, images)], "confused": [*map(asdict, pairs)]}
        print(to_json(about, indent=1))
        return 0
    print(f"{title} images at output {head}:")
    for image in images:
        print(f"  {image.key}: {names[image.label]}, taken for {names[image.predicted]}, {_how_sure(image)}")
    print("Most confused classes:")
    for pair in pairs:
        print(f"  {pair.count} of {pair.images}  {names[pair.a]} and {names[pair.b]}")
    return 0


def _how_sure(image: "Answer") -> str:
    """Return how probable the answer and the truth were, or how many heads knew it where that is not kept."""
    if image.truth is None or image.confidence is None:
        return f"{image.heads_right} of {image.heads} heads right"
    return f"p = {image.confidence:.3f}, of the truth {image.truth:.3f}"


ACTIONS: Mapping[str, Callable[[Arguments], int]] = {
    "list": _list,
    "check": _read,
    "preview": _read,
    "images": _images,
    "import": _import,
    "cache": _cache,
    "mistakes": _mistakes,
}
"""What each action does."""
