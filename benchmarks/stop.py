"""How long a training worker goes on after it was asked to stop: until its last checkpoint, and until it is gone.

    python -m benchmarks.stop --stops 5

The worker is a process of its own, ``python -m pmsi execute FOLDER``, and trains the paper's model on a batch of the
paper's size, where one phase takes many seconds on a few cores. It is asked at moments that are uniform over a batch,
counted from the reading of the first one; after each stop the run is resumed, and goes on from the checkpoint.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.kill import PATIENCE_S, Worker, inode
from pmsi.base.seeding import derive
from pmsi.config import TrainConfig
from pmsi.engine.checkpoint import CHECKPOINT, load_checkpoint
from pmsi.runs import Run, State, jobs

TARGET_S = 5.0
"""From the request to the final checkpoint."""


def main() -> None:
    """Parse the flags, stop, print, and exit with 1 if a checkpoint came too late."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stops", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", default="pmr")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder), config_of(flags))
        batch_s = undisturbed(run)
        print(f"{os.cpu_count()} CPUs, {flags.threads} threads; the first batch takes {batch_s:.1f} s", flush=True)
        moments = random.Random(derive("stop", flags.seed))
        stops = [stop(run, moments.uniform(0, batch_s)) for _ in range(flags.stops)]
    sys.exit(not summarised(stops))


def config_of(flags: argparse.Namespace) -> TrainConfig:
    """Return a run that will not end by itself; its images are drawn, and there are three batches or more of them."""
    return TrainConfig(
        method=flags.method, backbone=flags.backbone, weights="none", dataset="plumage", image_size=flags.size,
        train_per_class=max(2, flags.batch // 4), test_per_class=1, evaluate_every=10_000, epochs=10_000,
        batch_size=flags.batch, workers=flags.workers, trackers=(), device="cpu", threads=flags.threads,
    )  # fmt: skip


@dataclass(frozen=True)
class Stop:
    """Seconds from the request to the final checkpoint, to the state "stopped" and to the end of the process.

    ``after_s`` is when in training it was asked, ``place`` where the checkpoint lies, ``load`` the machine's by then.
    """

    after_s: float
    written_s: float
    stopped_s: float
    gone_s: float
    place: str
    load: float

    def __str__(self) -> str:
        ends = f"stopped after {self.stopped_s:.1f} s, gone after {self.gone_s:.1f} s"
        written = f"checkpoint after {self.written_s:.1f} s, before {self.place}"
        return f"asked {self.after_s:5.1f} s into training: {written}; {ends}; load {self.load:.1f}"


def undisturbed(run: Run) -> float:
    """Train the run's first batch, and return how long that takes; then stop."""
    worker = Worker(run, run.folder.parent / "log.txt")
    begun = begin(worker)
    worker.wait(lambda: run.status().done > 0)
    taken = time.monotonic() - begun
    jobs.stop(run)
    worker.process.wait(PATIENCE_S)
    return taken


def begin(worker: Worker) -> float:
    """Wait until the worker has opened its data, and return when that was; exit with its log where it cannot."""
    if not worker.wait(lambda: worker.run.state is State.RUNNING and worker.trains()):
        raise SystemExit(worker.run.log_tail())
    return time.monotonic()


def stop(run: Run, after_s: float) -> Stop:
    """Let the run go on for so long, and ask it to stop."""
    worker = Worker(run, run.folder.parent / "log.txt")
    end = begin(worker) + after_s
    worker.wait(lambda: time.monotonic() >= end)
    path = run.checkpoints / CHECKPOINT
    before = inode(path)
    asked = time.monotonic()
    jobs.stop(run)
    took = []
    for ended in (lambda: inode(path) != before, lambda: not run.state.is_live, lambda: False):
        worker.wait(ended)
        took.append(time.monotonic() - asked)
    if run.state is not State.STOPPED:
        raise SystemExit(f"The run is {run.state}.\n{run.log_tail()}")
    about = load_checkpoint(path).about
    place = f"phase {about['phase'] + 1} of batch {about['batch'] + 1} in epoch {about['epoch'] + 1}"
    found = Stop(after_s, *took, place, os.getloadavg()[0])
    print(found, flush=True)
    return found


def summarised(stops: list[Stop]) -> bool:
    """Print the middle and the longest, and say whether every checkpoint came in time."""
    for what in ("written_s", "stopped_s", "gone_s"):
        seconds = [getattr(stop, what) for stop in stops]
        print(f"{what:12}{statistics.median(seconds):6.1f} in the middle, {max(seconds):.1f} at most")
    in_time = sum(stop.written_s <= TARGET_S for stop in stops)
    print(f"{in_time} of {len(stops)} checkpoints within {TARGET_S:g} s")
    return in_time == len(stops)


if __name__ == "__main__":
    main()
