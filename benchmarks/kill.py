"""Kills training workers by kill -9 at random moments, resumes them, and compares the end with an undisturbed run.

    python -m benchmarks.kill --kills 50 --in-parallel 2
    python -m benchmarks.kill --kills 50 --processes 2

A worker is a process, ``python -m pmsi execute FOLDER``; with two processes it is torchrun with two ranks, and the kill
hits one or all of them. A run is killed once to three times, at moments that are uniform over its training. Every
eighth kill comes while the worker starts (imports, data set, checkpoint), which takes longer than this training. A
third of the others wait for the next temporary file of a checkpoint, and come within milliseconds of it. The run's
folder shows where a kill came. A kill after the worker's end does not count, and is repeated.

At the end of each run, weights and momentum must have the hash of the undisturbed run, metrics must be equal except for
seconds, and no temporary file may be left. Several undisturbed runs must agree.
"""

import argparse
import contextlib
import hashlib
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pmsi.base.errors import CheckpointError
from pmsi.base.files import LEFTOVERS, read_json
from pmsi.base.seeding import derive
from pmsi.config import TrainConfig
from pmsi.engine.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint
from pmsi.runs import Run, State

ROOT = Path(__file__).parent.parent
PATIENCE_S = 300.0
AIMED, EARLY = 1 / 3, 1 / 8
"""Shares of the kills: those at a checkpoint's write, and those while a worker starts."""

WRITE_S = 0.01  # about what a write takes

PLACES = (
    *("while starting", "in the first batch", "before the first checkpoint", "in mid-epoch"),
    *("during a write", "while testing", "after the last batch"),
)

EVERY_S = (0.0, 0.05, 0.3)  # between checkpoints; each run draws its own, as no result depends on it


def main() -> None:
    """Parse the flags, kill, print, and exit with 1 unless all is equal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, choices=(1, 2))
    parser.add_argument("--in-parallel", type=int, default=2, help="runs at a time")
    flags = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(flags.in_parallel) as pool:
        bench = Bench(Path(folder), config_of(flags.processes), flags.seed)
        bench.leave_alone(pool, max(2, flags.in_parallel))
        bench.kill(pool, flags.kills)
        print(f"\n{time.monotonic() - begun:.0f} s, {os.cpu_count()} CPUs, {flags.processes} process(es) in each run")
        sys.exit(not summarised(bench))


def config_of(processes: int) -> TrainConfig:
    """Return a run of a second or two: real in every part, small in every number."""
    return TrainConfig(
        dataset="plumage", backbone="tiny", weights="none", image_size=32, train_per_class=4, test_per_class=2,
        epochs=3, batch_size=6, channels=16, hidden=8, trackers=(), device="cpu", threads=1, devices=processes,
    )  # fmt: skip


@dataclass
class Outcome:
    """What became of a run: where its kills fell, how many left a checkpoint that cannot be read, and how it ended."""

    number: int
    fell: list[str] = field(default_factory=list)
    unreadable: int = 0
    leftovers: int = 0
    state: State = State.CREATED
    same_hash: bool = False
    same_metrics: bool = False

    @property
    def is_equal(self) -> bool:
        """Whether the kills have left no trace."""
        clean = not self.leftovers and not self.unreadable
        return self.state is State.FINISHED and self.same_hash and self.same_metrics and clean

    def __str__(self) -> str:
        verdict = "equal" if self.is_equal else f"NOT EQUAL: {self!r}"
        return f"run {self.number:3}  {verdict:10}killed {', '.join(self.fell) or 'too late'}"


class Worker:
    """A process that works on a run, in a session of its own."""

    def __init__(self, run: Run, log: Path) -> None:
        self.run, self._metrics = run, inode(run.folder / "metrics.jsonl")
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pmsi", "execute", str(run.folder)]
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command, env=environment, cwd=run.folder, start_new_session=True, stdout=file, stderr=file
            )

    def trains(self) -> bool:
        """Say whether the data are open and the state is restored: the metrics are written anew just then."""
        return inode(self.run.folder / "metrics.jsonl") != self._metrics

    def wait(self, condition: Callable[[], object], pause_s: float = 0.002) -> bool:
        """Wait for ``condition``, and say whether the worker still lives then."""
        until(lambda: self.process.poll() is not None or condition(), pause_s)
        return self.process.poll() is None

    def family(self) -> list[int]:
        """Return the process ids of the worker and of its ranks."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        try:
            return [pid, *map(int, children.read_text().split())]
        except OSError:  # it has ended
            return [pid]

    def kill(self, moments: random.Random) -> bool:
        """Kill all processes of the run or any one of them, and wait until none is left; say whether it was in time."""
        family = self.family()
        for pid in family if len(family) == 1 else moments.choice([family, *([pid] for pid in family)]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        until(lambda: not self.run.state.is_live)  # a rank outlives its parent until the kernel has killed it
        return self.run.state is not State.FINISHED


class Bench:
    """The undisturbed runs, and those that are killed."""

    def __init__(self, root: Path, config: TrainConfig, seed: int) -> None:
        self.root, self.config, self.seed = root, config, seed
        self.outcomes: list[Outcome] = []
        self.hash, self.metrics, self.start_s, self.life_s = "", [], 0.0, 0.0

    def new_run(self, number: int) -> tuple[Run, random.Random]:
        moments = random.Random(derive("kill", self.seed, number))
        return Run.create(self.root, self.config.with_(checkpoint_every_s=moments.choice(EVERY_S))), moments

    def leave_alone(self, pool: ThreadPoolExecutor, count: int) -> None:
        """Let some runs end undisturbed, as many at once as later: they say what is right, and how long a life is."""

        def life(number: int) -> tuple[Run, float, float]:
            run, _ = self.new_run(-number)
            worker = Worker(run, self.root / "log.txt")
            worker.wait(lambda: run.state is State.RUNNING)
            taken = time.monotonic()
            worker.wait(worker.trains)
            begun = time.monotonic()
            worker.wait(lambda: run.state is State.FINISHED)
            ended = time.monotonic()
            worker.process.wait(PATIENCE_S)
            return run, begun - taken, ended - begun

        runs, starts, lives = zip(*pool.map(life, range(1, count + 1)), strict=True)
        hashes = {hash_of(load_checkpoint(run.checkpoints / CHECKPOINT)) for run in runs}
        if len(hashes) > 1 or any(timeless(run) != timeless(runs[0]) for run in runs):
            raise SystemExit("Undisturbed runs end differently here.")
        (self.hash,), self.metrics = hashes, timeless(runs[0])
        self.start_s, self.life_s = statistics.median(starts), statistics.median(lives)
        seconds = f"start in {self.start_s:.1f} s and train for {self.life_s:.1f} s"
        print(f"{count} undisturbed runs {seconds}; all have the hash {self.hash[:16]}", flush=True)

    def kill(self, pool: ThreadPoolExecutor, kills: int) -> None:
        """Make runs until so many kills have met a living worker."""
        number = 0
        while missing := kills - sum(len(outcome.fell) for outcome in self.outcomes):
            planned = []
            while missing:
                number += 1
                planned.append((number, min(missing, 1 + derive("kills", self.seed, number) % 3)))
                missing -= planned[-1][1]
            for outcome in pool.map(lambda plan: self.one(*plan), planned):
                print(outcome, flush=True)
                self.outcomes.append(outcome)

    def one(self, number: int, kills: int) -> Outcome:
        """Kill a run so many times, let it end, and look at what it ended in."""
        run, moments = self.new_run(number)
        outcome = Outcome(number)
        reached = 0.0
        for moment in sorted(moments.random() for _ in range(kills)):
            early = moments.random() < EARLY
            # A resumed run begins about where it was killed: what remains until the next moment is their difference.
            after_s = moments.random() * self.start_s if early else (moment - reached) * self.life_s
            if not self.killed(run, after_s, early, moments):
                break
            reached = reached if early else moment
            outcome.fell.append(place_of(run, early))
            outcome.unreadable += not is_readable(run)
        if run.state is not State.FINISHED:
            Worker(run, self.root / "log.txt").process.wait(PATIENCE_S)
        outcome.state, outcome.leftovers = run.state, len(list(run.folder.rglob(LEFTOVERS)))
        outcome.same_metrics = timeless(run) == self.metrics
        outcome.same_hash = is_readable(run) and hash_of(load_checkpoint(run.checkpoints / CHECKPOINT)) == self.hash
        return outcome

    def killed(self, run: Run, after_s: float, early: bool, moments: random.Random) -> bool:
        """Start a worker, and kill it ``after_s`` seconds of work, or of training; say whether it was in time."""
        aimed, delay_s = not early and moments.random() < AIMED, moments.uniform(0, WRITE_S)
        worker = Worker(run, self.root / "log.txt")
        worker.wait((lambda: run.state is State.RUNNING) if early else worker.trains)
        end = time.monotonic() + after_s
        in_time = worker.wait(lambda: time.monotonic() >= end)
        if aimed and in_time:
            in_time = worker.wait(lambda: is_writing(run), 0.0005)
            time.sleep(delay_s)
        return worker.kill(moments) if in_time else False


def until(condition: Callable[[], object], pause_s: float = 0.002) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"Nothing has moved for {PATIENCE_S:.0f} s.")
        time.sleep(pause_s)


def inode(path: Path) -> int:
    return path.stat().st_ino if path.exists() else 0


def is_writing(run: Run) -> bool:
    return any(run.checkpoints.glob(LEFTOVERS))


def place_of(run: Run, early: bool) -> str:
    """Return in which of PLACES a killed run died, by what it left."""
    if early:
        return "while starting"
    if is_writing(run):
        return "during a write"
    started, beat = (read_json(run.folder / name) or {} for name in ("started", "progress.json"))
    if beat.get("at", 0.0) < started.get("at", 0.0):
        return "in the first batch"
    if not (run.checkpoints / CHECKPOINT).exists():
        return "before the first checkpoint"
    records = run.metrics()
    last = records[-1] if records else {"kind": "loss", "epoch": 0.5}
    if last["epoch"] == run.config.epochs and last["kind"] == "epoch":
        return "after the last batch"
    return "while testing" if last["kind"] == "loss" and last["epoch"] % 1 == 0 else "in mid-epoch"


def is_readable(run: Run) -> bool:
    """Say whether a run's checkpoint, if it has one, is whole."""
    try:
        load_checkpoint(run.checkpoints / CHECKPOINT)
    except CheckpointError:
        return not (run.checkpoints / CHECKPOINT).exists()
    return True


def hash_of(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 of all weights, buffers and momenta, with their names."""
    digest = hashlib.sha256()
    momenta = {f"momentum of {i}": slots["momentum_buffer"] for i, slots in checkpoint.optimizer["state"].items()}
    for name, tensor in sorted((checkpoint.model | momenta).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def timeless(run: Run) -> list[dict]:
    """Return a run's metrics without the seconds."""
    return [{key: value for key, value in record.items() if key != "seconds"} for record in run.metrics()]


def summarised(bench: Bench) -> bool:
    """Print what became of all runs, and say whether all of them are as they should be."""
    fell = Counter(place for outcome in bench.outcomes for place in outcome.fell)
    print(f"{fell.total()} kills in {len(bench.outcomes)} runs")
    for place in PLACES:
        print(f"  {place:32}{fell[place]:4}")
    for what in ("unreadable", "leftovers", "same_hash", "same_metrics"):
        print(f"{what.replace('_', ' '):32}{sum(getattr(outcome, what) for outcome in bench.outcomes):6}")
    resumed = sum(len(outcome.fell) for outcome in bench.outcomes if outcome.is_equal)
    print(f"{resumed} of {fell.total()} kills were resumed to the same weights, momenta and metrics")
    return all(outcome.is_equal for outcome in bench.outcomes)


if __name__ == "__main__":
    main()
