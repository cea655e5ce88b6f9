"""A server of the app for the benchmarks, on a free port, with only the runs that ship."""

import contextlib
import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pmsi.cli.app import server_command

ROOT = Path(__file__).resolve().parents[1]
READY_S = 120
PAGES = tuple(sorted(place.parent.name for place in (ROOT / "app" / "views").glob("*/page.py")))
"""The pages of the app."""


@dataclass(frozen=True)
class Server:
    """A server that answers: where, its process, its runs folder, and how many seconds it took to be ready."""

    address: str
    process: "subprocess.Popen[bytes]"
    runs: Path
    ready_s: float


@contextlib.contextmanager
def serving(**more: str) -> Iterator[Server]:
    """Serve the app, with ``more`` in its environment, and in the end leave nothing running."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        runs = Path(folder, "runs")
        runs.mkdir()
        started = time.monotonic()
        environment = os.environ | {"PMSI_CACHE": str(Path(folder, "cache"))} | more
        process = subprocess.Popen(server_command(port, runs), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        address = f"http://127.0.0.1:{port}"
        try:
            wait(f"{address}/_stcore/health", process)
            yield Server(address, process, runs, time.monotonic() - started)
        finally:
            process.terminate()
            process.wait(20)


def wait(health: str, process: "subprocess.Popen[bytes]") -> None:
    """Come back when the server answers, or raise RuntimeError where it does not."""
    end = time.monotonic() + READY_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(health, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"The app did not come up within {READY_S} s.")


def resident(pid: int) -> int:
    """Return how many bytes of memory a process has, on Linux."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def busy(pid: int) -> float:
    """Return how many seconds of CPU a process has taken so far, on Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
