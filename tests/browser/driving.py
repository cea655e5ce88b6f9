"""What drives the app as a person would: a server of its own on a free port, and Chromium."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlparse

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Locator, Page, expect  # noqa: E402

from pmsi.cli.app import server_command  # noqa: E402
from pmsi.runs import jobs, list_runs  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "/usr/bin/chromium", "chromium-browser"))), None)
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *CAMERA)
READY_S = 90
QUICK_S = 120
"""How long a test waits for a short training run; with two free cores it takes a quarter of that."""


@contextlib.contextmanager
def serving(runs: Path, **environment: str):
    """Serve the app with its runs in ``runs``, and yield its address; in the end nothing is left running.

    It may read what lies beside ``runs``, and imports go there too; ``environment`` is set besides.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = runs / "server.log"
    runs.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        server = subprocess.Popen(
            server_command(port, runs), cwd=ROOT, env=_environment(runs) | environment, stdout=output, stderr=output
        )
    try:
        below = "/".join(["", *environment.get("STREAMLIT_SERVER_BASE_URL_PATH", "").split()])
        _wait_until_healthy(f"http://127.0.0.1:{port}{below}/_stcore/health", server, log)
        yield f"http://127.0.0.1:{port}{below}"
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        _end_runs(runs)


def _environment(runs: Path) -> dict[str, str]:
    """Two threads of torch for each process: the server predicts while a run trains."""
    kept = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    return {"PMSI_DATA": str(runs.parent), "PMSI_DATASETS": str(runs.with_name(f"{runs.name}-sets"))} | kept


def _wait_until_healthy(address: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"The app did not come up within {READY_S} s:\n{log.read_text(errors='replace')[-3000:]}")


def _end_runs(runs: Path) -> None:
    """Stop what a failed test has left running; a queued run first, or it would be started."""
    live = [run for run in list_runs(runs) if run.state.is_live]
    for run in live:
        with contextlib.suppress(Exception):
            jobs.stop(run, grace_s=2)
    end = time.monotonic() + 10
    while any(run.state.is_live for run in live) and time.monotonic() < end:
        time.sleep(0.1)


# What a person does


def go(page: Page, name: str) -> None:
    """Open a page by the navigation, which is a drawer where the window is narrow."""
    links = page.get_by_test_id("stTopNavLink").or_(page.get_by_test_id("stSidebarNavLink"))
    link = links.filter(has_text=re.compile(rf"{name}$"))
    if (page.viewport_size or {"width": 1440})["width"] < 700:
        page.get_by_test_id("stExpandSidebarButton").click()
    link.click()


def number(page: Page, label: str) -> Locator:
    """Return the number field whose label starts so."""
    return page.get_by_role("spinbutton", name=re.compile(rf"^{label}"))


def fill(page: Page, label: str, value: int, typed: str) -> None:
    """Type a number into the form, and wait until the command below it says ``typed``."""
    field = number(page, label)
    field.fill(str(value))
    field.press("Enter")
    expect(page.get_by_test_id("stCode")).to_contain_text(f"{typed} {value}")


def short_run(page: Page, epochs: int) -> None:
    """On the Train page, lower the quick preset to something that takes seconds for each epoch."""
    expect(page.get_by_role("radio", name="Quick look")).to_have_attribute("aria-checked", "true")
    fill(page, "Epochs", epochs, "--epochs")
    fill(page, "Image size", 64, "--image-size")
    page.get_by_text("All other settings", exact=True).click()
    fill(page, "Training images per class", 8, "--train-per-class")
    fill(page, "Test images per class", 4, "--test-per-class")


def start(page: Page) -> None:
    """Start the run, and wait until its page is shown."""
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(re.compile(r"/runs\?.*run="))


def expect_state(page: Page, state: str, seconds: float) -> None:
    """Wait until the run that is shown is in this state."""
    badge = page.locator(".stMarkdownBadge").filter(has_text=state)
    expect(badge).to_be_visible(timeout=seconds * 1000)


def kill_worker(url: str, other_than: int = 0) -> int:
    """Kill the process that works on the run in the address of its page, with a signal that nobody can handle.

    Waits for one that is not ``other_than``, the number of one killed before; returns its number.
    """
    run = parse_qs(urlparse(url).query)["run"][0]
    end = time.monotonic() + QUICK_S
    while time.monotonic() < end:
        workers = [
            int(folder.name)
            for folder in Path("/proc").glob("[0-9]*")
            if b"execute" in (words := _words_of(folder)) and any(word.endswith(run.encode()) for word in words)
        ]
        if workers and workers != [other_than]:
            assert len(workers) == 1, workers
            os.kill(workers[0], signal.SIGKILL)
            return workers[0]
        time.sleep(0.05)
    raise AssertionError(f"No process works on run {run}.")


def _words_of(process: Path) -> list[bytes]:
    try:
        return (process / "cmdline").read_bytes().split(b"\0")
    except OSError:  # it has just ended
        return []


def loaded(image: Locator) -> str:
    """Return the address of an image once its pixels are there; it is another one for other pixels."""
    expect(image).to_be_visible()
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth") > 0
    return image.get_attribute("src") or ""


def expect_other_pixels(image: Locator, before: str) -> str:
    """Wait until an image shows other pixels than those at the address ``before``; return the new address."""
    expect(image).not_to_have_attribute("src", before)
    return loaded(image)


def mosaic(page: Page, r: int, title: str = "") -> Locator:
    """Return the drawing of r recursions of an image whose title ends so, on the Mosaic page."""
    return page.get_by_role("img", name=re.compile(rf"{re.escape(title)}, mosaic with r = {r}$"))


def drawn(canvas: Locator) -> str:
    """Return a drawing's pixels as an address of PNG, once they are there: it has no name before."""
    expect(canvas).to_be_visible()
    return canvas.evaluate("canvas => canvas.toDataURL()")


def expect_other_drawing(canvas: Locator, before: str) -> None:
    """Wait until a drawing has other pixels than ``before``."""
    canvas.page.wait_for_function(
        "([canvas, before]) => canvas.toDataURL() !== before", arg=[canvas.element_handle(), before]
    )
