"""The app as one person feels it, in Chromium: from the press of a key to the new pixels, and from nothing to a page.

    python -m benchmarks.app_browser
    python -m benchmarks.app_browser --presses 40 --at-work       # while a training job takes all cores

A key moves a slider or a number; the time counts from the browser's own event until the pictures have changed and
are decoded, the predictions (where there are any) have arrived, and two frames have been painted. Each press goes to a
value that nobody has asked for before, so nothing is remembered. The start is timed from `make run` on a machine that
is set up until the server says that it is ready, and from then until the first picture of the first page is painted.
"""

import argparse
import contextlib
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

from playwright.sync_api import Page, sync_playwright

from benchmarks.app_server import ROOT, Server, serving, wait
from pmsi import jobs
from pmsi.presets import PRESETS
from pmsi.runs import Run

READY_TARGET_S, PAINT_TARGET_S, AT_WORK_MS = 20, 2.0, 500

WATCH = """([pictures, whole]) => {
  const shown = () => [...document.querySelectorAll(pictures)];
  const sources = () => shown().map(image => image.currentSrc || image.src).join();
  const state = () => document.querySelector('[data-testid="stApp"]').getAttribute('data-test-script-state');
  const before = sources();
  window.took = null;
  addEventListener('keydown', () => {
    const started = performance.now();
    const look = async () => {
      const ready = shown().every(image => image.complete && image.naturalWidth);
      if (ready && sources() !== before && (!whole || state() !== 'running')) {
        await Promise.all(shown().map(image => image.decode().catch(() => null)));
        requestAnimationFrame(() => requestAnimationFrame(() => { window.took = performance.now() - started; }));
      } else requestAnimationFrame(look);
    };
    look();
  }, {once: true, capture: true});
}"""
"""Notes in ``took``, in milliseconds, how long the next key press takes to show: new pictures, or the whole answer."""


@dataclass(frozen=True)
class Action:
    """A key that is pressed in a field of a page, the pictures that it changes, and whether the rest must be there."""

    title: str
    path: str
    field: str
    key: str
    pictures: str
    whole: bool
    target_ms: float


MAIN = '[data-testid="stImage"] img'
ACTIONS = (
    Action("Mosaic page, seed → four mosaics", "/mosaic", 'input[aria-label^="Layout"]', "ArrowUp", MAIN, False, 150),
    Action(
        "Robustness page, slider → image and predictions of two runs, 224 px",
        "/robustness?run=demo-pmr&beside=demo-baseline",
        "role=slider[name=/Gaussian noise/]",
        "ArrowRight",
        MAIN,
        True,
        400,
    ),
)


def measured(page: Page, server: Server, action: Action, presses: int) -> list[float]:
    """Return how many milliseconds each press of the action's key took to show."""
    page.goto(server.address + action.path)
    field = page.locator(action.field).first
    field.wait_for()
    page.locator(action.pictures).first.wait_for()
    page.wait_for_timeout(1500)
    took = []
    for _ in range(presses):
        page.evaluate(WATCH, [action.pictures, action.whole])
        field.focus()
        field.press(action.key)
        page.wait_for_function("window.took !== null", timeout=20_000)
        took.append(float(page.evaluate("window.took")))
        page.wait_for_timeout(300)
    return took


def show(title: str, took: list[float], target_ms: float) -> None:
    p50, p95 = statistics.median(took), sorted(took)[int(0.95 * len(took))]
    print(title)
    print(
        f"  p50 {p50:.0f} ms, p95 {p95:.0f} ms of {len(took)} presses; p50 ≤ {target_ms:.0f}: {verdict(p50, target_ms)}"
    )


def verdict(value: float, target: float) -> str:
    return "met" if value <= target else "missed"


@contextlib.contextmanager
def at_work(server: Server) -> Iterator[None]:
    """Keep a training job running in the server's runs folder, as the app would start it."""
    run = Run.create(server.runs, PRESETS["quick"].config.with_(epochs=1000))
    jobs.submit(run)
    while not run.metrics():
        time.sleep(0.5)
    try:
        yield
    finally:
        jobs.stop(run, grace_s=5)
        while run.state.is_live:
            time.sleep(0.2)


def start(page: Page) -> None:
    """Time ``make run`` and the first page that it serves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.monotonic()
    words = ["make", "run", f"PORT={port}"]
    server = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        wait(f"{address}/_stcore/health", server)
        ready_s = time.monotonic() - started
        page.goto(address)
        page.locator("img[alt]").first.wait_for()
        page.wait_for_function("[...document.images].some(i => i.complete && i.naturalWidth > 200)")
        paint_s = time.monotonic() - started - ready_s
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)
    print(f"make run → ready: {ready_s:.1f} s; ≤ {READY_TARGET_S}: {verdict(ready_s, READY_TARGET_S)}")
    print(
        f"ready → the first page's picture: {paint_s:.2f} s; ≤ {PAINT_TARGET_S:g}: {verdict(paint_s, PAINT_TARGET_S)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presses", type=int, default=30)
    parser.add_argument("--at-work", action="store_true", help="Measure the keys while a training job runs.")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        if not options.at_work:
            start(page)
        with serving() as server, at_work(server) if options.at_work else contextlib.nullcontext():
            for action in ACTIONS:
                took = measured(page, server, action, options.presses)
                show(action.title, took, AT_WORK_MS if options.at_work else action.target_ms)
        browser.close()


if __name__ == "__main__":
    main()
