"""What networks use: the three protocols of `pmsi maps` on pairs of runs, and what a rival changes, as tables.

    python -m benchmarks.uses --runs RUNS --pair BASELINE PMR --pair … --test-per-class 10

Reports that RUNS already has are not made again. Prints Markdown: true importance, agreement of maps, sanity, and the
paired difference between maps of the class against its sibling and of the class alone.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pmsi import tasks
from pmsi.base.files import LARGE, read_json
from pmsi.base.seeding import derive
from pmsi.config import MapsConfig
from pmsi.explain.measures.report import means
from pmsi.maps import LOOKS
from pmsi.runs import Run, list_runs

AGREE = ("correlation", "sensitivity", "deletion", "preservation", "distractibility")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--pair", nargs=2, action="append", required=True, metavar="RUN")
    parser.add_argument("--test-per-class", type=int, default=10)
    parser.add_argument("--photos", action="store_true", help="The data set has no parts that can be changed.")
    typed = parser.parse_args()
    for pair in typed.pair:
        print(f"\n# {pair[0]} and {pair[1]}\n")
        if not typed.photos:
            parts = made(typed.runs, of=pair[0], beside=pair[1], protocol="parts", test_per_class=typed.test_per_class)
            _importance(parts.result() or {})
            _agreement(parts.result() or {})
        for run in pair:
            _sanity(run, made(typed.runs, of=run, protocol="sanity", test_per_class=2).result() or {})
            plain, rival = (
                made(typed.runs, of=run, rival=rival, test_per_class=typed.test_per_class, faithfulness_per_class=0)
                for rival in (None, "confused")
            )
            _rival(run, plain, rival, "object" if typed.photos else "telling")


def made(root: Path, **settings: Any) -> Run:
    """Return the finished report of these settings, made now if there is none."""
    config = MapsConfig(**settings)
    for run in list_runs(root):
        if run.config == config and run.result() is not None:
            return run
    run = Run.create(root, config)
    tasks.execute(run)
    return run


def _ends(ends: dict[str, float] | None, scale: float = 1) -> str:
    return (
        "–"
        if ends is None
        else "{:z.2f} ({:z.2f} to {:z.2f})".format(*(scale * ends[e] for e in ("mean", "low", "high")))
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print("|", " | ".join(head), "|\n|", "---|" * len(head), sep="")
    for row in rows:
        print("|", " | ".join(row), "|")
    print()


def _importance(found: dict[str, Any]) -> None:
    """Print what the class's probability loses, in points, and the paired difference."""
    one, two, minus = found["importance"][found["head"]], found["beside"], found["beside"]["minus"]["importance"]
    other = two["importance"][two["head"]]
    rows = [
        [key, _ends(one[key], 100), _ends(other.get(key), 100), _ends(minus.get(key), 100), f"{minus[key]['p']:.2g}"]
        for key in one
        if key.endswith(" p") or key.startswith("surr")
    ]
    _table(("lost, points", "first", "second", "second − first", "p (Holm)"), rows)


def _agreement(found: dict[str, Any]) -> None:
    """Print how each explanation agrees with the truth, for both runs."""
    sources = [f"{method} {stage}" for method in found["methods"] for stage in found["stages"]]
    for name, about, head in (("first", found, found["head"]), ("second", found["beside"], found["beside"]["head"])):
        numbers = about["agreement"][head]
        rows = [
            [each, *(_ends(numbers.get(f"{each}/{measure}")) for measure in AGREE)]
            for each in ("oracle", "area", "random", *sources)
        ]
        _table((name, *AGREE), rows)


def _sanity(run: str, found: dict[str, Any]) -> None:
    heads = [layer for layer in found["layers"] if not layer[1:].isdecimal()]
    rows = []
    for source in (f"{method} {stage}" for method in found["methods"] for stage in found["stages"]):
        method, _, stage = source.partition(" ")
        shuffled = [found["numbers"][layer].get(f"{source}/spearman") for layer in (heads[-1], found["layers"][-1])]
        floor = found["numbers"]["nothing"].get(f"{method} random {stage}/spearman")
        rows.append([source, *map(_ends, (*shuffled, floor))])
    _table((f"{run}: alike once shuffled", "the heads", "everything", "noise"), rows)


def _rival(run: str, plain: Run, rival: Run, region: str) -> None:
    """Print energy alone and against the rival, and their difference image by image, in per cent."""
    looks = [(read_json(each.folder / LOOKS, LARGE) or {})["looks"] for each in (plain, rival)]
    keys = [f"{stage}/{measure}" for measure in ("energy", "pointing") for stage in ("S3", "S4", "S5")]
    both = [
        (one["regions"][region], two["regions"][region])
        for one, two in zip(*looks, strict=True)
        if region in one["regions"] and region in two["regions"]
    ]
    alone, against = ([{key: side[key] for key in keys} for side in sides] for sides in zip(*both, strict=True))
    apart = [{key: two[key] - one[key] for key in keys} for one, two in zip(alone, against, strict=True)]
    seed = derive("bootstrap", 0, "rival")
    a, b, c = (means(each, seed) for each in (alone, against, apart))
    rows = [[key, _ends(a[key], 100), _ends(b[key], 100), _ends(c[key], 100)] for key in keys]
    _table((f"{run}, {region} ({len(both)} images), %", "alone", "against the rival", "difference"), rows)
    shallow = [{f"{m}": one[f"S3/{m}"] - one[f"S5/{m}"] for m in ("energy", "pointing")} for one in against]
    print("S3 − S5 against the rival:", {m: _ends(e, 100) for m, e in means(shallow, seed).items()}, "\n")


if __name__ == "__main__":
    main()
