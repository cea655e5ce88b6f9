"""What baseline and RMG-PMSI know of their limits: calibration and unknown images, pair by pair, seed by seed.

``python -m benchmarks.knowing RUNS_FOLDER --other cub --other-data DIR`` takes every pair of finished training runs
of a folder that differ in the method alone, measures what is not measured yet, and prints for each measure both means,
the paired difference of each pair, and the mean and the standard deviation over pairs.
"""

import argparse
import dataclasses
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from pmsi import tasks
from pmsi.config import CalibrateConfig, Config, TrainConfig, UnknownsConfig
from pmsi.runs import Run, State, list_runs


def pairs(root: Path) -> list[tuple[Run, Run]]:
    """Return the (baseline, RMG-PMSI) pairs of runs whose other settings are equal."""
    by_config: dict[Config, dict[str, Run]] = defaultdict(dict)
    for run in list_runs(root):
        if run.damage is None and isinstance(run.config, TrainConfig) and run.state is State.FINISHED:
            by_config[dataclasses.replace(run.config, method="baseline")][run.config.method] = run
    both = [found for found in by_config.values() if {"baseline", "pmr"} <= found.keys()]
    return sorted(((found["baseline"], found["pmr"]) for found in both), key=lambda pair: pair[0].id)


def measured(root: Path, config: Config) -> dict[str, Any]:
    """Return the result of a task, of a finished run of it where there is one."""
    for run in list_runs(root):
        if run.damage is None and run.config == config and (result := run.result()) is not None:
            return result
    run = Run.create(root, config)
    if tasks.execute(run) is not State.FINISHED:
        raise SystemExit(f"{run.folder}: {run.status().error}")
    result = run.result()
    assert result is not None
    return result


def lines(root: Path, pair: tuple[Run, Run], asked: dict[str, Any]) -> dict[str, tuple[float, float, dict[str, float]]]:
    """Return by measure the numbers of both runs and their difference, RMG-PMSI minus baseline."""
    ids = tuple(run.id for run in pair)
    calibrated = measured(root, CalibrateConfig(of=ids, threads=1))
    unknown = measured(root, UnknownsConfig(of=ids, threads=1, **asked).located())
    found = {}
    (apart,) = calibrated["differences"]
    for kind in ("raw", "calibrated"):
        for name, difference in apart[kind].items():
            values = [calibrated["runs"][id]["heads"][calibrated["primary"][id]][kind][name]["value"] for id in ids]
            found[f"{name}, {kind}"] = (*values, difference)
    for difference in unknown["differences"]:
        kind, score = difference["unknown"], difference["score"]
        for name in ("auroc", "fpr"):
            values = [unknown["runs"][id]["unknown"][kind][score][name]["value"] for id in ids]
            found[f"{name} of {kind} by {score}"] = (*values, difference[name])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="Runs folder with pairs of baseline and RMG-PMSI.")
    parser.add_argument("--other", help="Data set of unknown images, such as cub.")
    parser.add_argument("--other-data", help="Its folder.")
    typed = parser.parse_args()
    asked = {"other": typed.other, "other_data": typed.other_data}
    of_measure = defaultdict(list)
    for pair in pairs(typed.runs):
        for measure, found in lines(typed.runs, pair, asked).items():
            of_measure[measure].append(found)
    print(f"{'measure':38} {'baseline':>9} {'RMG-PMSI':>9}   differences (95 %; p) of each pair")
    for measure, found in of_measure.items():
        means = [statistics.mean(one[side] for one in found) for side in (0, 1)]
        each = "  ".join(f"{d['value']:+.3f} ({d['low']:+.3f} to {d['high']:+.3f}; {d['p']:.3f})" for _, _, d in found)
        apart = [d["value"] for _, _, d in found]
        spread = f"; mean {statistics.mean(apart):+.3f} ± {statistics.stdev(apart):.3f}" if len(apart) > 1 else ""
        print(f"{measure:38} {means[0]:9.3f} {means[1]:9.3f}   {each}{spread}")


if __name__ == "__main__":
    main()
