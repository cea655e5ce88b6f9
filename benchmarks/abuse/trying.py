"""Hostile inputs, each taken by a child process: what becomes of it, its peak of memory and its seconds of CPU."""

import os
import random
import resource
import select
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.abuse.kind import Kind
from pmsi.base.errors import PMSIError

LIMIT_CPU_S, LIMIT_BYTES = 120, 6 * 10**9
"""Where a child is ended."""
LOOK_S = 0.002
"""How often its memory is looked at."""


@dataclass
class Found:
    """What became of the inputs of a kind."""

    outcomes: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    memory: tuple[float, str] = (0.0, "")
    cpu_s: tuple[float, str] = (0.0, "")

    def add(self, name: str, outcome: str, used: float, cpu_s: float) -> None:
        self.outcomes[outcome.partition(":")[0]] = self.outcomes.get(outcome.partition(":")[0], 0) + 1
        if outcome.startswith(("fault", "killed")):
            self.faults.append(f"{name}: {outcome}")
        self.memory, self.cpu_s = max(self.memory, (used, name)), max(self.cpu_s, (cpu_s, name))


def tried(kind: Kind, path: Path) -> tuple[str, float, float]:
    """Return what a child says that takes a thing, its peak memory in bytes above that at first, its CPU seconds."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        os.write(writing, _in_child(kind, path).encode())
        os._exit(0)
    os.close(writing)
    first = peak = _anonymous(pid)
    while not select.select([reading], [], [], LOOK_S)[0]:
        peak = max(peak, _anonymous(pid))
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status, used = os.wait4(pid, 0)
    if said:
        return said.decode(), float(peak - first), used.ru_utime + used.ru_stime
    died = signal.Signals(status & 127).name if status & 127 else str(status)
    stopped = kind.by_signal and died in ("SIGXCPU", "SIGKILL")
    return ("refused: " if stopped else "killed: ") + died, 0.0, used.ru_utime + used.ru_stime


def _in_child(kind: Kind, path: Path) -> str:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_CPU_S, LIMIT_CPU_S))
    size = _bytes("self", "VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (size + LIMIT_BYTES, size + LIMIT_BYTES))
    signal.alarm(10 * LIMIT_CPU_S)
    try:
        kind.take(path)
        outcome = "taken"
    except PMSIError:
        outcome = "refused"
    except BaseException as error:
        outcome = f"fault: {type(error).__name__}: {str(error)[:300]}"
    return outcome


def _anonymous(pid: int) -> int:
    """Return the bytes of a process that no file backs: a child maps its libraries anew, which costs nothing."""
    return _bytes(str(pid), "RssAnon")


def _bytes(pid: str, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next((line.split()[1] for line in lines if line.startswith(name)), "0"))


def fuzz(name: str, kind: Kind, count: int, seed: int) -> Found:
    """Try ``count`` inputs of a kind."""
    found = Found()
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            path = kind.make(random.Random(f"{name} {seed} {number}"), Path(folder))
            found.add(f"{number} ({path.name})", *tried(kind, path))
            kind.learn(path)
    return found
