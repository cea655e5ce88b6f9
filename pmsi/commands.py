"""What each subcommand does once its arguments are parsed: call a plain function, and print or write what it returns.

Torch and what needs it are imported only by the commands that compute, so that looking at runs is instantaneous.
"""

import argparse
import dataclasses
import io
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pmsi import jobs
from pmsi.config import CONFIGS, TrainConfig, differences
from pmsi.errors import ConfigError, DataError, RunError, lookup
from pmsi.files import to_json, write_atomically
from pmsi.flags import POSITIONAL, command, to_config
from pmsi.presets import PRESETS
from pmsi.runs import Run, State, list_runs
from pmsi.watching import counting, describe, following, one_line, understanding

Arguments = argparse.Namespace
ENDED_EARLY = 1

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF"}
"""Endings of the pictures that can be written; PNG, BMP and TIFF keep every pixel."""


def mosaic(typed: Arguments) -> int:
    """Write a recursive mosaic of a picture."""
    from pmsi.augment.preview import layouts, preview, side_by_side, square
    from pmsi.data.images import open_rgb

    picture_format(typed.out)
    image = square(open_rgb(typed.image), typed.size)
    drawn = {"seed": typed.seed, "permutation": typed.permutation}
    pictures = preview(image, typed.r, **drawn, borders=typed.strip)
    save_picture(side_by_side(pictures) if typed.strip else pictures[-1], typed.out)
    if typed.layout:
        write_output(typed.layout, to_json(layouts(typed.r, **drawn)[-1].to_json()))
    print(typed.out)
    return 0


def task(typed: Arguments) -> int:
    """Create the run that the flags describe, and queue it or work on it here."""
    preset = getattr(typed, "preset", None)
    start = CONFIGS[typed.task]() if preset is None else lookup("preset", PRESETS, preset).config
    of = getattr(typed, POSITIONAL, None)
    if of is not None:  # a config holds whole ids: how one begins may fit more runs tomorrow
        whole = [Run.open(typed.runs, id).id for id in ([of] if isinstance(of, str) else of)]
        setattr(typed, POSITIONAL, whole[0] if isinstance(of, str) else whole)
    config = to_config(start, typed).located()
    jobs.check(config, typed.runs)
    run = Run.create(typed.runs, config)
    if typed.queue or typed.launcher:
        jobs.submit(run, typed.launcher or "local")
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
    from pmsi.data.images import open_rgb
    from pmsi.predictor import Predictor

    predictor = Predictor.load(Run.open(typed.runs, typed.run), typed.device)
    answers = []
    for path in typed.images:
        prediction = predictor.predict(predictor.prepare(open_rgb(path)), typed.top)
        heads = {head: [dataclasses.asdict(guess) for guess in best] for head, best in prediction.heads.items()}
        best = dataclasses.asdict(prediction.best)
        answers.append({"image": text_of(path), "best": best, "primary": prediction.primary, "heads": heads})
    print(to_json(answers, indent=1))
    return 0


def explain(typed: Arguments) -> int:
    """Write the picture that the network sees, an overlay for each stage, and the maps as numbers."""
    from pmsi.data.images import open_rgb
    from pmsi.explain.overlay import overlay, scaled
    from pmsi.predictor import Predictor

    run = Run.open(typed.runs, typed.run)
    predictor = Predictor.load(run, typed.device)
    seen = predictor.prepare(open_rgb(typed.image))
    label = None if typed.class_name is None else predictor.class_number(typed.class_name)
    found = predictor.explain(seen, head=typed.head, label=label)
    save_picture(seen, typed.out / "image.png")
    for stage, values in scaled(found.maps)[0].items():
        save_picture(overlay(seen, values), typed.out / f"{stage}.png")
    about = {
        "run": run.id,
        "image": text_of(typed.image),
        "head": found.head,
        "class": predictor.classes[found.label],
        "predicted": dataclasses.asdict(found.prediction.best),
        "maps": {stage: values.tolist() for stage, values in found.maps.items()},
    }
    write_output(typed.out / "maps.json", to_json(about))
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
        print(to_json([_described(run) for run in found], indent=1))
    elif not found:
        print(f"No runs in {typed.runs} yet. Start one: pmsi train --runs {typed.runs}")
    else:
        for run in found:
            print(_noted(run))
    return 0


def _noted(run: Run) -> str:
    """Return a run's line, and what its launcher knows of it besides."""
    seen = jobs.look(run)
    return f"{one_line(run)}  {seen.text}" if seen else one_line(run)


def _described(run: Run) -> dict[str, Any]:
    seen = jobs.look(run)
    return describe(run) | {"launcher": seen.text if seen else None}


def _show_run(typed: Arguments) -> int:
    run = Run.open(typed.runs, typed.run)
    if typed.json:
        print(to_json(_described(run), indent=1))
        return 0
    with understanding(run):
        lines = [_noted(run), f"  {command(run.config, typed.runs)}"]
        lines += [f"  {name} = {value}" for name, value in differences(run.config).items()]
        if error := run.status().error:
            lines.append(f"  {error.kind}: {error.message}\n  {error.remedy}".rstrip())
        if result := run.result():
            lines.append(to_json(result, indent=1))
    print("\n".join(lines))
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
    jobs.follow(run)
    if not (run.state.can_resume or run.state is State.CREATED):
        raise RunError(f"Run {run.id} is {run.state.value}: only a stopped, interrupted or failed run can be resumed.")
    if not (typed.queue or typed.launcher):
        return work(run)
    if run.state is State.CREATED:
        jobs.submit(run, typed.launcher or "local")
    else:
        jobs.resume(run, typed.launcher)
    print(run.id)
    return 0


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


def tables(typed: Arguments) -> int:
    """Run what a table of the paper needs, and print or write the table."""
    from pmsi import campaign

    text, status = campaign.tables(typed)
    if typed.out and not typed.dry_run:
        write_output(typed.out, text)
        print(typed.out)
    else:
        print(text.rstrip("\n"))
    return status


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
    folder = typed.folder.resolve()
    if not (folder / "config.json").is_file():
        raise RunError(f"{typed.folder} is no run folder: it has no config.json. See: pmsi runs list.")
    jobs.become_ranks(Run(folder))
    state = jobs.execute(Run(folder))
    return 0 if state is State.FINISHED else ENDED_EARLY


def runner(typed: Arguments) -> int:
    """Work off the queue of a runs folder: what the local launcher calls."""
    from pmsi.launchers.local import serve

    serve(typed.runs)
    return 0


def text_of(path: Path) -> str:
    """Return a path as text that JSON can hold, whatever bytes are in its name."""
    return os.fsencode(path).decode(errors="replace")


def write_output(path: Path, content: bytes | str) -> None:
    """Write a file that was asked for, and the folders above it, with a clear error where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        is_below_file = isinstance(error, (FileExistsError, NotADirectoryError))
        reason = f"{path.parent} is no folder" if is_below_file else error.strerror or error
        raise DataError(f"{path} cannot be written: {reason}.") from error


def picture_format(path: Path) -> str:
    """Return Pillow's name of the format that a file's ending says."""
    return lookup("ending of a picture", PICTURES, path.suffix.lower())


def save_picture(picture: Any, path: Path) -> None:
    """Write a Pillow image, whole or not at all; the file's ending says the format."""
    buffer = io.BytesIO()
    try:
        picture.save(buffer, picture_format(path), quality=95)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be written as {picture_format(path)}: {error}. Try .png.") from error
    write_output(path, buffer.getvalue())
