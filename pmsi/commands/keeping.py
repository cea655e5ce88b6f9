"""Commands that keep a runs folder in order: compare, label, delete, restore and purge runs. They compute nothing."""

import argparse

from pmsi.base.files import to_json
from pmsi.runs import Run, trash
from pmsi.runs import comparison as comparing
from pmsi.runs.disk import in_words
from pmsi.runs.labels import label, labels_of

Arguments = argparse.Namespace


def compare(typed: Arguments) -> int:
    """Print training runs beside each other."""
    runs = comparing.training_runs(Run.open(typed.runs, id) for id in typed.run)
    shown = to_json(comparing.as_json(runs, typed.head), indent=1) if typed.json else comparing.text(runs, typed.head)
    print(shown)
    return 0


def change_labels(typed: Arguments) -> int:
    """Change a run's labels where something is given, and print them."""
    run = Run.open(typed.runs, typed.run)
    given = {key: value for key in ("name", "tags", "note") if (value := getattr(typed, key)) is not None}
    labels = label(run, **given) if given else labels_of(run)
    print(to_json({"run": run.id, "name": labels.name, "tags": labels.tags, "note": labels.note}, indent=1))
    return 0


def delete(typed: Arguments) -> int:
    """Move runs into the trash; all are looked at before the first is moved."""
    runs = [Run.open(typed.runs, id) for id in dict.fromkeys(typed.run)]
    users = trash.check(runs)
    for run in runs:
        trash.delete(run)
        print(f"{run.id} is deleted. Back again: pmsi runs restore {run.id}")
    if users:
        some = ", ".join(run.id for run in users[:3]) + (", …" if len(users) > 3 else "")
        print(f"Made from what was deleted: {some}. They keep their results, but cannot be worked on any further.")
    return 0


def restore(typed: Arguments) -> int:
    """Bring deleted runs back, or list them where none is named."""
    for id in typed.run:
        print(trash.restore(typed.runs, id).id)
    if not typed.run:
        found = trash.deleted_runs(typed.runs)
        for each in found:
            print(each.run.id)
        if not found:
            print(f"No deleted runs in {typed.runs}.")
    return 0


def purge(typed: Arguments) -> int:
    """Remove deleted runs for good."""
    before = trash.size_of_trash(typed.runs)
    gone = trash.purge(typed.runs, ids=typed.run or None, older_than_s=typed.days * trash.DAY_S)
    freed = in_words(max(0, before - trash.size_of_trash(typed.runs)))
    print(f"{len(gone)} deleted run{'s' * (len(gone) != 1)} removed for good, {freed} freed.")
    return 0
