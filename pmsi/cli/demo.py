"""Make the runs that ship with the program.

A baseline and the paper's method are trained on the built-in birds by the same recipe; their models are stored in half
precision. A robustness sweep and their maps are measured on the models as they ship. Run ids are names without dates,
so that links to them stay valid. Interrupted training is resumed; the measurements are made anew each time.
"""

import argparse
import io
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pmsi.base.errors import RunError
from pmsi.base.files import write_atomically
from pmsi.cli.flags import add_like, add_runs, folder
from pmsi.cli.task import work
from pmsi.config import CalibrateConfig, Config, MapsConfig, RobustnessConfig, TrainConfig, UnknownsConfig, from_json
from pmsi.export.formats import EXPORTS, export, portable
from pmsi.maps import LOOKS
from pmsi.runs import Run, State
from pmsi.runs.run import CHECKPOINT
from pmsi.runs.run import SHIPPED as SHIPPED_RUNS
from pmsi.runs.theatre import FILE as THEATRE
from pmsi.unknowns import FEATURES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=folder, metavar="DIR", help="Folder that is made or replaced.")
    help = "Instead: the shipped network as a page for phones, ready for any web server (GitHub Pages, say)."
    what.add_argument("--site", type=folder, metavar="DIR", help=help)
    add_like(parser, "weights", "Weights to start from: imagenet, none, or a file", metavar="FILE")
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Train and measure the runs that ship with the program, or write the page of one."""
    if typed.site is not None:
        write_site(Run.open(SHIPPED_RUNS, "demo-pmr"), typed.site)
        print(typed.site)
        return 0
    make(typed.runs, typed.out, typed.weights, work)
    print(typed.out)
    return 0


RECIPE = TrainConfig(
    dataset="plumage",
    train_per_class=40,
    test_per_class=40,
    image_size=224,
    smooth_conv="separable",
    lr_pretrained=0.002,
    lr_new=0.02,
    frozen_epochs=1,
    epochs=10,
    trackers=(),
)
"""Ten epochs suffice for drawings, with higher learning rates than the paper's."""

TRAINED = {"demo-baseline": replace(RECIPE, method="baseline"), "demo-pmr": replace(RECIPE, method="pmr")}

MEASUREMENTS: dict[str, Config] = {
    "demo-calibration": CalibrateConfig(of=tuple(TRAINED)),
    "demo-unknowns": UnknownsConfig(of=tuple(TRAINED), test_per_class=20, most=240),
    "demo-robustness": RobustnessConfig(of=tuple(TRAINED), test_per_class=20),
    **{id.replace("demo", "demo-maps"): MapsConfig(of=id, test_per_class=20) for id in TRAINED},
    "demo-parts": MapsConfig(of="demo-baseline", beside="demo-pmr", protocol="parts", test_per_class=5),
    **{id.replace("demo", "demo-sanity"): MapsConfig(of=id, protocol="sanity", test_per_class=1) for id in TRAINED},
}

SHIPPED = ("config.json", "data.json.gz", "metrics.jsonl", "predictions.json", THEATRE, "result.json", "started")
"""Files of a training run that ship, beside its checkpoint; of the others all do but these:"""
WORKING = ("lock", ".change", "log.txt", "progress.json", "queued", "checkpoints", "tensorboard", LOOKS)


def write_site(run: Run, folder: Path) -> None:
    """Write a run's page for phones into a folder, file by file; other files there stay."""
    with zipfile.ZipFile(io.BytesIO(EXPORTS[".zip"].make(run, "float16"))) as site:
        for name in site.namelist():
            write_atomically(folder / name, site.read(name))
    write_atomically(folder / ".nojekyll", "")  # GitHub Pages then serves the files as they are


Work = Callable[[Run], int]
"""Works on a run and returns the exit status."""


def make(runs: Path, out: Path, weights: str, work: Work) -> None:
    """Train the runs that the folder ``runs`` lacks, measure them, and put all into ``out``.

    ``weights`` are the starting weights; the shipped config has only the name of a file. Raises RunError if a run does
    not finish; the same command resumes it.
    """
    staging = out.with_name(f".{out.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    for id, config in TRAINED.items():
        _ship(_finished(runs, id, config.with_(weights=weights).located(), work), staging / id)
    for id, question in MEASUREMENTS.items():
        run = _finished(staging, id, question, work)
        for name in WORKING:
            _remove(run.folder / name)
    for id in TRAINED:
        _remove(staging / id / FEATURES)
    if out.exists():
        shutil.rmtree(out)
    staging.rename(out)


def _finished(root: Path, id: str, config: Config, work: Work) -> Run:
    """Return the finished run ``id`` of ``config``; starts or resumes it if needed."""
    run = Run(root / id)
    if not (run.folder / "config.json").exists():
        Run.create(root, config).folder.rename(run.folder)
    elif run.config != config:
        raise RunError(f"Run {id} in {root} has other settings. Delete it, or name another runs folder.")
    if run.state is not State.FINISHED:
        work(run)
    if run.state is not State.FINISHED:
        raise RunError(f"Run {id} has not finished. The same command resumes it.")
    return run


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _ship(run: Run, folder: Path) -> None:
    """Copy the files of a training run that ship into ``folder``."""
    (folder / "checkpoints").mkdir(parents=True)
    for name in [name for name in SHIPPED if name != THEATRE or (run.folder / name).exists()]:  # a run from before
        shutil.copyfile(run.folder / name, folder / name)
    config = from_json((folder / "config.json").read_text(encoding="utf-8"))
    assert isinstance(config, TrainConfig)
    write_atomically(folder / "config.json", portable(config).to_json())
    export(run, folder / "checkpoints" / CHECKPOINT, precision="float16")
