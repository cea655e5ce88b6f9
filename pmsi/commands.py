"""What each subcommand does once its arguments are parsed: call a plain function, and print or write what it returns.

Torch and what needs it are imported only by the commands that compute, so that looking at runs is instantaneous.
"""

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pmsi import jobs
from pmsi.config import CONFIGS, TrainConfig, differences
from pmsi.data import DATASETS, open_dataset, summary
from pmsi.data.images import open_rgb
from pmsi.errors import ConfigError, DataError, RunError, lookup
from pmsi.files import to_json, write_atomically
from pmsi.flags import command, to_config
from pmsi.presets import PRESETS
from pmsi.runs import Run, State, list_runs
from pmsi.watching import following, one_line

Arguments = argparse.Namespace
ENDED_EARLY = 1


def mosaic(typed: Arguments) -> int:
    """Write a recursive mosaic of a picture."""
    from pmsi.augment.preview import layouts, preview, side_by_side, square

    image = square(open_rgb(typed.image), typed.size)
    drawn = {"seed": typed.seed, "permutation": typed.permutation}
    pictures = preview(image, typed.r, **drawn, borders=typed.strip)
    save_picture(side_by_side(pictures) if typed.strip else pictures[-1], typed.out)
    if typed.layout:
        make_folder(typed.layout.parent)
        write_atomically(typed.layout, to_json(layouts(typed.r, **drawn)[-1].to_json()))
    print(typed.out)
    return 0


def task(typed: Arguments) -> int:
    """Create the run that the flags describe, and queue it or work on it here."""
    preset = getattr(typed, "preset", None)
    start = lookup("preset", PRESETS, preset).config if preset else CONFIGS[typed.task]()
    config = to_config(start, typed).located()
    jobs.check(config, typed.runs)
    run = Run.create(typed.runs, config)
    if typed.queue:
        jobs.submit(run)
        print(run.id)
        return 0
    return work(run)


def work(run: Run) -> int:
    """Work on a run in the foreground, showing how it goes; print its result as JSON."""
    with following(run, sys.stderr):
        state = jobs.execute(run)
    print(to_json({"run": run.id, "state": state.value, "result": run.result()}, indent=1))
    return 0 if state is State.FINISHED else ENDED_EARLY


def predict(typed: Arguments) -> int:
    """Print what a trained model sees in each picture."""
    from pmsi.predictor import Predictor

    predictor = Predictor.load(Run.open(typed.runs, typed.run), typed.device)
    answers = []
    for path in typed.images:
        prediction = predictor.predict(predictor.prepare(open_rgb(path)), typed.top)
        heads = {head: [dataclasses.asdict(guess) for guess in best] for head, best in prediction.heads.items()}
        best = dataclasses.asdict(prediction.best)
        answers.append({"image": str(path), "best": best, "primary": prediction.primary, "heads": heads})
    print(to_json(answers, indent=1))
    return 0


def explain(typed: Arguments) -> int:
    """Write the picture that the network sees, an overlay for each stage, and the maps as numbers."""
    from pmsi.explain.overlay import overlay, scaled
    from pmsi.predictor import Predictor

    predictor = Predictor.load(Run.open(typed.runs, typed.run), typed.device)
    seen = predictor.prepare(open_rgb(typed.image))
    label = None if typed.class_name is None else predictor.class_number(typed.class_name)
    found = predictor.explain(seen, head=typed.head, label=label)
    make_folder(typed.out)
    save_picture(seen, typed.out / "image.png")
    for stage, values in scaled(found.maps)[0].items():
        save_picture(overlay(seen, values), typed.out / f"{stage}.png")
    about = {
        "run": typed.run,
        "image": str(typed.image),
        "head": found.head,
        "class": predictor.classes[found.label],
        "predicted": dataclasses.asdict(found.prediction.best),
        "maps": {stage: values.tolist() for stage, values in found.maps.items()},
    }
    write_atomically(typed.out / "maps.json", to_json(about))
    print(to_json({key: about[key] for key in ("run", "image", "head", "class", "predicted")}, indent=1))
    return 0


def runs(typed: Arguments) -> int:
    """List, show, stop or resume runs."""
    actions: dict[str, Callable[[Arguments], int]] = {
        "list": _list_runs,
        "show": _show_run,
        "stop": _stop_run,
        "resume": _resume_run,
    }
    return actions[typed.action](typed)


def _list_runs(typed: Arguments) -> int:
    found = list_runs(typed.runs)
    if typed.json:
        print(to_json([describe(run) for run in found], indent=1))
    elif not found:
        print(f"No runs in {typed.runs} yet. Start one: pmsi train --runs {typed.runs}")
    else:
        for run in found:
            print(one_line(run))
    return 0


def _show_run(typed: Arguments) -> int:
    run = Run.open(typed.runs, typed.run)
    if typed.json:
        print(to_json(describe(run), indent=1))
        return 0
    print(one_line(run))
    print(f"  {command(run.config, typed.runs)}")
    for name, value in differences(run.config).items():
        print(f"  {name} = {value}")
    if error := run.status().error:
        print(f"  {error.kind}: {error.message}\n  {error.remedy}")
    if result := run.result():
        print(to_json(result, indent=1))
    return 0


def _stop_run(typed: Arguments) -> int:
    run = Run.open(typed.runs, typed.run)
    jobs.stop(run)
    while run.state in (State.STOPPING, State.RUNNING):
        time.sleep(0.1)
    print(one_line(run))
    return 0


def _resume_run(typed: Arguments) -> int:
    run = Run.open(typed.runs, typed.run)
    if typed.queue:
        jobs.resume(run)
        print(run.id)
        return 0
    if not run.state.can_resume:
        raise RunError(f"Run {run.id} is {run.state.value}: only a stopped, interrupted or failed run can be resumed.")
    return work(run)


def describe(run: Run) -> dict[str, Any]:
    """Return a run as JSON types: what it is, how it stands, what came of it."""
    status = dataclasses.asdict(run.status())
    return {"id": run.id, "config": run.config.to_dict(), "status": status, "result": run.result()}


def data(typed: Arguments) -> int:
    """List the data sets, check one, or write its contact sheet."""
    if typed.action == "list":
        for name, row in DATASETS.items():
            print(f"{name:10} {row.title}: {row.help}")
        return 0
    dataset = open_dataset(TrainConfig(dataset=typed.dataset, data=typed.data))
    if typed.action == "preview":
        from pmsi.data.preview import contact_sheet

        save_picture(contact_sheet(dataset, typed.columns), typed.out)
        print(typed.out)
        return 0
    about = summary(dataset)
    print(to_json(about, indent=1) if typed.json else _readable(about))
    return 0


def _readable(about: Mapping[str, Any]) -> str:
    """Return the summary of a data set as lines of text."""
    classes = about["classes"]
    lines = [f"{about['name']}: {len(classes)} classes, {about['train']} training and {about['test']} test images"]
    lines += [f"  {row['train']:5} {row['test']:5}  {row['name']}" for row in classes]
    problems = about["problems"]
    lines.append(f"{len(problems)} images left out" + (":" if problems else "."))
    return "\n".join([*lines, *(f"  {problem['key']}: {problem['reason']}" for problem in problems)])


def app(typed: Arguments) -> int:
    """Open the lab in the browser; the server replaces this process."""
    try:
        from app.server import command as server_command
    except ImportError as error:
        raise ConfigError(
            f"The app's packages are not installed ({error}). Run: pip install -r requirements.txt"
        ) from error
    argv = server_command(typed.port, typed.runs)
    sys.stdout.flush()
    os.execve(argv[0], argv, os.environ | {"PMSI_RUNS": str(typed.runs)})


def execute(typed: Arguments) -> int:
    """Work on a run folder: what launchers call."""
    state = jobs.execute(Run(typed.folder))
    return 0 if state is State.FINISHED else ENDED_EARLY


def runner(typed: Arguments) -> int:
    """Work off the queue of a runs folder: what the local launcher calls."""
    from pmsi.launchers.local import serve

    serve(typed.runs)
    return 0


def make_folder(folder: Path) -> None:
    """Make a folder for output, with a clear error where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be made: {error.strerror}.") from error


def save_picture(picture: Any, path: Path) -> None:
    """Write a Pillow image, whole or not at all; the file's ending says the format."""
    import io

    from PIL import Image

    form = Image.registered_extensions().get(path.suffix.lower())
    if form is None:
        raise DataError(f"{path}: unknown picture format {path.suffix!r}. End the name in .png or .jpg.")
    buffer = io.BytesIO()
    picture.save(buffer, form)
    make_folder(path.parent)
    write_atomically(path, buffer.getvalue())
