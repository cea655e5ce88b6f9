"""Commands about data sets: list them, check one, draw its contact sheet."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from pmsi.commands.output import picture_format, save_picture
from pmsi.config import TrainConfig
from pmsi.files import to_json
from pmsi.watching import counting

Arguments = argparse.Namespace


def data(typed: Arguments) -> int:
    """List the data sets, check one, or write its contact sheet."""
    from pmsi.data import DATASETS, open_dataset, summary

    if typed.action == "list":
        for name, row in DATASETS.items():
            print(f"{name:10} {row.title}: {row.help}")
        return 0
    if typed.action == "preview":
        picture_format(typed.out)
    with counting(sys.stderr, "images checked") as progress:
        dataset = open_dataset(TrainConfig(dataset=typed.dataset, data=typed.data), progress)
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
    problems = about["problems"]
    lines.append(f"Images left out: {len(problems)}" + (":" if problems else "."))
    return "\n".join([*lines, *(f"  {problem['key']}: {problem['reason']}" for problem in problems)])
