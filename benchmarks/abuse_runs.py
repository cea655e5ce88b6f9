"""Spoils run folders, one file at a time, and looks at them with all that reads runs.

    python -m benchmarks.abuse_runs --count 500

Each spoilt run lies beside two sound ones. It is listed, shown, compared, looked for by a table, deleted and restored.
An error in our own words (PMSIError) is an answer; any other exception is a failure, and so is a change of what is said
of the sound runs. `spoil` and `look` are functions of a seed, so that another program can measure them one by one.
"""

import argparse
import contextlib
import gzip
import io
import json
import os
import random
import resource
import shutil
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pmsi.base.errors import PMSIError
from pmsi.base.seeding import derive
from pmsi.cli.main import main as pmsi
from pmsi.robustness.results import read_results
from pmsi.runs import Run, jobs, known_runs
from pmsi.runs.comparison import comparable, outcome
from pmsi.runs.labels import label
from pmsi.runs.mistakes import read_predictions
from pmsi.runs.record import data_of
from pmsi.runs.run import SHIPPED
from pmsi.tables.matching import Runs

SOUND = ("sound-pmr", "sound-baseline")
ORIGINALS = ("demo-pmr", "demo-robustness", "demo-maps-pmr")
LATER = {
    "queued": {"at": 1.0, "launcher": "local", "cwd": None},
    "stop": {"at": 1.0, "grace_s": 1.0, "back_to": None},
    "progress.json": {"done": 1, "total": 2, "text": "epoch 1", "at": 1.0, "rate": 1.0, "pause": 1.0},
    "labels.json": {"name": "A name", "tags": ["tag"], "note": "A note"},
    "error.json": {"at": 1.0, "kind": "Kind", "message": "Message", "remedy": ""},
    "slurm.json": {"job": "1", "at": 1.0, "uid": 0},
}
"""Files that a run may have and the originals have not."""

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 10**18, 10**400, 1e300, float("nan"), float("inf"), "", "x" * 10**6, "\x1b[2J\u202e", "\ud800",
    [], {}, [[]], {"a": {}}, ["x"], "2026-12-01", [None], {"x": [1]}, -0.0, 1e-320,
)  # fmt: skip


def mutated(value: Any, draw: random.Random) -> Any:
    """Return JSON with an odd value, a missing or a strange key somewhere in it."""
    if isinstance(value, (dict, list)) and value and draw.random() < 0.8:
        key = draw.choice([*value] if isinstance(value, dict) else range(len(value)))
        copy = value.copy()
        if draw.random() < 0.15:
            del copy[key]
        elif isinstance(copy, dict) and draw.random() < 0.1:
            copy[draw.choice(["", "nosuch", "x" * 999, "\u202e"])] = copy.pop(key)
        else:
            copy[key] = mutated(value[key], draw)
        return copy
    if draw.random() < 0.1:
        return json.loads("[" * 300 + "]" * 300)
    return draw.choice(ODD)


def _flipped(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data or b"x")
    for _ in range(draw.choice([1, 3, 100])):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _of_json(data: bytes, draw: random.Random) -> bytes:
    """Mutate one JSON text of a file: the file itself, a line of it, or what it unpacks to."""
    if data[:2] == b"\x1f\x8b":
        return gzip.compress(_of_json(gzip.decompress(data), draw))
    lines = data.splitlines() if data.count(b"\n{") else [data]
    number = draw.randrange(len(lines))
    lines[number] = json.dumps(mutated(json.loads(lines[number]), draw)).encode()
    return b"\n".join(lines)


CONTENTS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bytes flipped": _flipped,
    "cut off": lambda data, draw: data[: draw.randrange(len(data) + 1)],
    "odd JSON": _of_json,
    "odd JSON again": _of_json,
    "deep": lambda data, draw: draw.choice([b"[", b'{"a":']) * 10**6,
    "many": lambda data, draw: b"[" + b"{}," * draw.choice([10**5, 5 * 10**6]) + b"1]",
    "digits": lambda data, draw: b'{"at": ' + b"9" * draw.choice([30, 10**6]) + b"}",
    "zeros": lambda data, draw: bytes(draw.choice([0, 100, 10**6])),
    "a bomb": lambda data, draw: gzip.compress(draw.choice([b"[", b" "]) * 10**8),
}

KINDS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": os.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a loop": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a socket": lambda path: socket.socket(socket.AF_UNIX).bind(os.path.relpath(path)),
    "a sparse file": lambda path: (path.touch(), os.truncate(path, 2**40)),
    "missing": lambda path: None,
}

NAMES = ("new\nline", "\x1b[31mred", "\u202egnp", "\udcff\udcfe", "a" * 200, "-rf", "'; x", "$(x)", "[x](y)")


def spoil(root: Path, seed: int, number: int) -> tuple[Path, str]:
    """Make a runs folder with two sound runs and a spoilt one; return the spoilt one and in words what was done."""
    draw = random.Random(derive("runs", seed, number))
    for name, original in zip(SOUND, ("demo-pmr", "demo-baseline"), strict=True):
        _copy(original, root / f"20260101-000000-{name}")
    original = draw.choice(ORIGINALS)
    name = draw.choice(NAMES) if draw.random() < 0.1 else "spoilt"
    folder = root / f"20300101-000000-{name}"
    _copy(original, folder)
    files = [*sorted(path for path in folder.rglob("*") if path.is_file()), *map(folder.joinpath, LATER)]
    path = draw.choice(files)
    if path.name in LATER:
        path.write_text(json.dumps(LATER[path.name]))
    if draw.random() < 0.7:
        what = draw.choice([*CONTENTS])
        with contextlib.suppress(ValueError):  # a picture or a checkpoint is no JSON
            path.write_bytes(CONTENTS[what](path.read_bytes(), draw))
    else:
        what = draw.choice([*KINDS])
        path.unlink()
        KINDS[what](path)
    return folder, f"{original}, {path.relative_to(folder)}: {what}"


def _copy(original: str, folder: Path) -> None:
    """Copy a run, with a checkpoint that is only the start of one."""
    shutil.copytree(SHIPPED / original, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints" / "last.safetensors").write_bytes(b"\x08" + bytes(7) + b'{"a":1}\n')


def look(root: Path, folder: Path) -> None:
    """Do with the runs of a folder whatever reads them; raises what is no PMSIError, and AssertionError."""
    sound = [Run(root / f"20260101-000000-{name}") for name in SOUND]
    run = Run(folder)
    lines = typed("runs", "list", "--runs", str(root)).splitlines()
    assert sum(run.id in line for line in lines) == 1, "it is not listed once"
    assert all(f"finished     {each.id}  " in "\n".join(lines) for each in sound), "a sound run is not listed"
    for words in (["show", run.id], ["show", "--json", run.id], ["compare", sound[0].id, run.id]):
        typed("runs", *words, "--runs", str(root))
    typed("runs", "list", "--json", "--sort", "accuracy", "--runs", str(root))
    typed("tables", "3", "--show", "--dataset", "plumage", "--runs", str(root))
    known = known_runs(root)
    assert {*sound} <= {*known}, "a sound run is not known"
    assert (run in known) is (run.damage is None), "a damaged run is known"
    comparable(sound[0], known), Runs(root).distinct, jobs.unattended(root)
    for ask in (outcome, Run.status, Run.metrics, read_predictions, read_results, data_of, labelled):
        with contextlib.suppress(PMSIError):
            ask(run)
    if not run.state.is_live or run.damage is not None:
        for words in ("delete", "restore"):
            typed("runs", words, run.id, "--runs", str(root), status=0)
    assert folder.is_dir(), "it is not back"


def labelled(run: Run) -> None:
    """Name a run, which a folder in place of a file refuses as the system does."""
    with contextlib.suppress(OSError):
        label(run, name="A name")


def typed(*words: str, status: int | None = None) -> str:
    """Return what a command prints."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        found = pmsi(list(words))
    assert status in (None, found), f"{words[:3]}: {err.getvalue()}"
    return out.getvalue()


def main() -> None:
    """Spoil and look, each in a process of its own; print failures and the worst, and exit with 1 after a failure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        typed("runs", "list", "--runs", folder), typed("tables", "3", "--show", "--runs", folder)  # imports
    costs, failures = [], 0
    for number in range(flags.first, flags.first + flags.count):
        read, write = os.pipe()
        if (child := os.fork()) == 0:
            os.write(write, json.dumps(_one(flags.seed, number)).encode()[:4000])
            os._exit(0)
        os.close(write)
        _, status, used = os.wait4(child, 0)
        with os.fdopen(read, "rb") as pipe:
            what, error = json.loads(pipe.read() or b'["?", "died"]')
        costs.append((used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, f"{number}: {what}"))
        if error or status:
            failures += 1
            print(f"FAILED {number}: {what}: {error} {status or ''}", flush=True)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds, memory = max(costs), max(costs, key=lambda cost: cost[1])
    print(f"{len(costs)} spoilt runs, {failures} failures; most CPU: {seconds[0]:.1f} s ({seconds[2]}); "
          f"most memory: {memory[1] - base:.0f} MB above {base:.0f} MB ({memory[2]})")  # fmt: skip
    sys.exit(failures > 0)


def _one(seed: int, number: int) -> tuple[str, str]:
    what, begun = "?", time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root:
        try:
            folder, what = spoil(Path(root), seed, number)
            look(Path(root), folder)
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            return what, f"{type(error).__name__}: {str(error)[:300]} at {place.filename}:{place.lineno}"
    return what, "" if time.monotonic() - begun < 600 else "it took more than ten minutes"


if __name__ == "__main__":
    main()
