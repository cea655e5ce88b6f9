"""What drives the app as a person would: a server of its own on a free port, and Chromium."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlparse

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from playwright.sync_api import Locator, Page, expect  # noqa: E402
from waiting import free_port, until  # noqa: E402

from pmsi.cli.app import server_command  # noqa: E402
from pmsi.runs import jobs, list_runs  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "/usr/bin/chromium", "chromium-browser"))), None)
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *CAMERA)
QUICK_S = 300
"""A deadline for a short training run, which only a hanging test ever meets."""


@contextlib.contextmanager
def serving(runs: Path, **environment: str):
    """Serve the app with its runs in ``runs``, and yield its address; in the end nothing is left running.

    It may read what lies beside ``runs``, and imports go there too; ``environment`` is set besides.
    """
    port = free_port()
    log = runs / "server.log"
    runs.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        server = subprocess.Popen(
            server_command(port, runs), cwd=ROOT, env=_environment(runs) | environment, stdout=output, stderr=output
        )
    try:
        below = "/".join(["", *environment.get("STREAMLIT_SERVER_BASE_URL_PATH", "").split()])
        health = f"http://127.0.0.1:{port}{below}/_stcore/health"
        until(lambda: server.poll() is not None or _answers(health))
        assert server.poll() is None, f"The app did not come up:\n{log.read_text(errors='replace')[-3000:]}"
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


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
        return answer.status == 200
    return False


def _end_runs(runs: Path) -> None:
    """Stop what a failed test has left running; a queued run first, or it would be started."""
    live = [run for run in list_runs(runs) if run.state.is_live]
    for run in live:
        with contextlib.suppress(Exception):
            jobs.stop(run, grace_s=2)
    until(lambda: not any(run.state.is_live for run in live))


# What a person does


SECTIONS = dict.fromkeys(("Data", "Train", "Runs"), "Train") | dict.fromkeys(("Sweeps", "Numbers", "Tables"), "Results")


def go(page: Page, name: str) -> None:
    """Open a page by the navigation: a menu for each section, or a drawer where the window is narrow."""
    if (page.viewport_size or {"width": 1440})["width"] < 700:
        page.get_by_test_id("stExpandSidebarButton").click()
    else:
        page.get_by_test_id("stTopNavSection").filter(has_text=SECTIONS.get(name, "Explore")).click()
    links = page.get_by_test_id("stTopNavDropdownLink").or_(page.get_by_test_id("stSidebarNavLink"))
    links.filter(has_text=re.compile(rf"{name}$")).click()


def number(page: Page, label: str) -> Locator:
    """Return the number field whose label starts so."""
    return page.get_by_role("spinbutton", name=re.compile(rf"^{label}"))


def settings(page: Page) -> None:
    """Open the settings of the Train page, unless they are open."""
    panel = page.get_by_test_id("stExpander").filter(has_text="Change settings")
    if panel.locator("details").get_attribute("open") is None:
        panel.locator("summary").click()


def fill(page: Page, label: str, value: int, typed: str) -> None:
    """Type a number into the form, and wait until the command below it says ``typed``."""
    settings(page)
    field = number(page, label)
    field.fill(str(value))
    field.press("Enter")
    expect(page.get_by_test_id("stCode")).to_contain_text(f"{typed} {value}")


def short_run(page: Page, epochs: int) -> None:
    """On the Train page, lower the quick preset to something that takes seconds for each epoch."""
    expect(page.get_by_role("radio", name="Quick look")).to_have_attribute("aria-checked", "true")
    fill(page, "Epochs", epochs, "--epochs")
    fill(page, "Image size", 64, "--image-size")
    fill(page, "Training images per class", 8, "--train-per-class")
    fill(page, "Test images per class", 4, "--test-per-class")


def settled(page: Page) -> None:
    """Wait until a page has a heading and its script has run."""
    expect(page.get_by_role("heading").first).to_be_visible()
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()


def upload(page: Page, name: str, content: bytes, kind: str = "image/png", place: int = 0) -> None:
    """Give a file to one of the fields for uploads."""
    file = {"name": name, "mimeType": kind, "buffer": content}
    page.locator("input[type=file]").nth(place).set_input_files(file)


def start(page: Page) -> None:
    """Start the run, and wait until its page is shown."""
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url(re.compile(r"/runs\?.*run="))


def expect_state(page: Page, state: str, seconds: float = QUICK_S) -> None:
    """Wait until the run that is shown is in this state."""
    badge = page.locator(".stMarkdownBadge").filter(has_text=state)
    expect(badge).to_be_visible(timeout=seconds * 1000)


def stop(page: Page) -> None:
    """Stop the run that is shown, and wait until it has stopped."""
    page.get_by_role("button", name="Stop").first.click()
    page.get_by_role("button", name="Stop this run").click()
    expect_state(page, "stopped")


def kill_worker(url: str, other_than: int = 0) -> int:
    """Kill the process that works on the run in the address of its page, with a signal that nobody can handle.

    Waits for one that is not ``other_than``, the number of one killed before; returns its number.
    """
    run = parse_qs(urlparse(url).query)["run"][0].encode()

    def workers() -> list[int]:
        found = [(int(folder.name), _words_of(folder)) for folder in Path("/proc").glob("[0-9]*")]
        ours = [id for id, words in found if b"execute" in words and any(word.endswith(run) for word in words)]
        return ours if ours != [other_than] else []

    (worker,) = until(workers)
    os.kill(worker, signal.SIGKILL)
    return worker


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
