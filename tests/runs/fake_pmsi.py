"""A stand-in for ``python -m pmsi`` with a task that does what its config's ``data`` says. Run as a script.

fake_pmsi.py execute FOLDER
fake_pmsi.py runner --runs ROOT --device DEVICE
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from waiting import PATIENCE_S

from pmsi import tasks
from pmsi.runs import Run
from pmsi.runs.launchers import local


def command(*words):
    return [sys.executable, "-W", "error", __file__, *map(str, words)]


def task(config, run):
    """Log one record a step, going on after those that are logged; see `BEHAVIOURS` for the rest."""
    for step in range(len(run.metrics()), config.epochs):
        run.check_stop()
        run.log({"step": step})
        run.progress(step + 1, config.epochs, "stepping")
    BEHAVIOURS.get(config.data, lambda run: None)(run)
    return {"steps": config.epochs}


def wait(run):
    """Go on when a file ``go`` appears in the folder; stop when asked."""
    end = time.monotonic() + PATIENCE_S
    while not (run.folder / "go").exists() and time.monotonic() < end:
        run.check_stop()
        time.sleep(0.005)


def deaf(run):
    """Never look whether somebody wants it to stop; leave a child behind."""
    child = os.fork()
    if child == 0:
        time.sleep(PATIENCE_S)
        os._exit(0)
    (run.folder / "child").write_text(str(child))
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        time.sleep(0.01)


def crash_once(run):
    """Die without a word, but only the first time."""
    mark = run.folder / "crashed"
    if not mark.exists():
        mark.touch()
        os._exit(3)


def crash(_run):
    """Die every time."""
    print("famous last words", flush=True)
    os._exit(3)


def where(_run):
    """Say in which folder the worker works."""
    print("cwd is", Path.cwd())


def place(run):
    """Say which GPUs it was given."""
    print("on", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)


def one_fails(_run):
    """Run out of memory as rank 1, and as another see no more of it than torch does."""
    if os.environ["RANK"] == "1":
        raise MemoryError("too much")
    raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1")


def one_fails_and_all_are_killed(run):
    """Run out of memory as rank 1; as rank 0 wait for it in vain, until somebody kills it."""
    if os.environ["RANK"] == "1":
        raise MemoryError("too much")
    end = time.monotonic() + PATIENCE_S
    while not list(run.folder.glob("error-rank-*.json")) and time.monotonic() < end:
        time.sleep(0.005)
    os._exit(9)


BEHAVIOURS = {
    "one fails": one_fails,
    "one fails, all are killed": one_fails_and_all_are_killed,
    "wait": wait,
    "deaf": deaf,
    "place": place,
    "crash once": crash_once,
    "crash": crash,
    "where": where,
}


def use_fake(monkeypatch):
    """Make the local launcher start this script where it would start ``python -m pmsi``."""
    monkeypatch.setattr(local, "runner_command", runner_command)
    monkeypatch.setattr(local, "worker_command", _worker_command)


def runner_command(root, device="cpu"):
    return command("runner", "--runs", root, "--device", device)


def _worker_command(run):
    if run.config.data == "no worker":
        return [sys.executable, "-c", "import sys; sys.exit('out of luck')"]
    return command("execute", run.folder)


def main():
    tasks.TASKS["train"] = tasks.Task("__main__:task")
    if sys.argv[1] == "runner":
        local.worker_command = _worker_command
        local.serve(Path(sys.argv[3]), sys.argv[5])
    else:
        os.environ.setdefault("RANK", "0")  # a run on several devices is one process here
        tasks.execute(Run(Path(sys.argv[2])))


if __name__ == "__main__":
    main()
