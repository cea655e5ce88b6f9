"""Commands about models that leave: export one, and make the runs that come with the program."""

import argparse

from pmsi.commands.runs import work
from pmsi.runs import Run

Arguments = argparse.Namespace


def export(typed: Arguments) -> int:
    """Write a trained model as one file."""
    from pmsi.export.formats import export

    typed.out.parent.mkdir(parents=True, exist_ok=True)
    export(Run.open(typed.runs, typed.run), typed.out, typed.half)
    print(typed.out)
    return 0


def demo(typed: Arguments) -> int:
    """Train and examine the runs that come with the program."""
    from pmsi.cli.demo import make

    make(typed.runs, typed.out, typed.weights, work)
    print(typed.out)
    return 0
