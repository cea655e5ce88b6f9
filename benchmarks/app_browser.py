"""Response times of the app for one user in Chromium: from a key press to new pixels, and from the start to a page.

    python -m benchmarks.app_browser
    python -m benchmarks.app_browser --presses 40 --at-work       # while a training job uses all cores
    python -m benchmarks.app_browser --visitors 50                # while 50 other users change layouts

A key press moves a slider or a number. The time is from the browser's event until the pictures have changed and are
decoded, the predictions (if any) have arrived, and two frames have been painted. Each press chooses a new value, so
caches do not help. The page itself draws the mosaics of a layout: the time is until they are painted, with a separate
line for the server's answer with code and address. The start is measured from `make run`, on a machine that is set up,
until the server is ready, and from then until the first picture of the first page is painted.
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
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from playwright.sync_api import Page, sync_playwright

from benchmarks.app_server import ROOT, Server, serving, wait
from pmsi.config.presets import PRESETS
from pmsi.runs import Run, jobs

READY_TARGET_S, PAINT_TARGET_S, AT_WORK_MS = 20, 2.0, 500

WATCH = """([changes, whole]) => {
  const shown = () => [...document.querySelectorAll(changes === 'mosaics' ? 'img.none' : changes)];
  const sources = () => changes === 'mosaics' ? window.pmsiMosaic.seed
    : shown().map(one => one.currentSrc || one.src || one.textContent).join();
  const state = () => document.querySelector('[data-testid="stApp"]').getAttribute('data-test-script-state');
  const before = sources();
  window.took = null;
  addEventListener('keydown', () => {
    const started = performance.now();
    const look = async () => {
      const ready = shown().every(one => one.tagName !== 'IMG' || one.complete && one.naturalWidth);
      if (ready && sources() !== before && (!whole || state() !== 'running')) {
        await Promise.all(shown().map(one => one.decode?.().catch(() => null)));
        requestAnimationFrame(() => requestAnimationFrame(() => { window.took = performance.now() - started; }));
      } else requestAnimationFrame(look);
    };
    look();
  }, {once: true, capture: true});
}"""
"""Notes in ``took``, in milliseconds, how long the next key press takes to show: new pictures, or the whole answer."""


@dataclass(frozen=True)
class Action:
    """A key that is pressed in a field of a page, what it changes, and whether the whole answer must be there.

    ``changes`` is a selector of images or texts, or "mosaics": those that the page draws itself.
    """

    title: str
    path: str
    field: str
    key: str
    changes: str
    whole: bool
    target_ms: float


CODE = '[data-testid="stCode"]'
DRAG = 'input[aria-label="Layouts"]'
MAIN = '[data-testid="stImage"] img'
ACTIONS = (
    Action("Mosaic page, slider → four mosaics", "/mosaic", DRAG, "ArrowRight", "mosaics", False, 150),
    Action("Mosaic page, slider → code and address too", "/mosaic?seed=500", DRAG, "ArrowRight", CODE, True, 500),
    Action(
        "Perturb page, slider → image and predictions of two runs, 224 px",
        "/perturb?run=demo-pmr&beside=demo-baseline",
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
    page.wait_for_function("changes => window.pmsiMosaic || document.querySelector(changes)", arg=action.changes)
    page.wait_for_timeout(1500)
    took = []
    for _ in range(presses):
        page.evaluate(WATCH, [action.changes, action.whole])
        field.focus()
        field.press(action.key)
        page.wait_for_function("window.took !== null", timeout=20_000)
        took.append(float(page.evaluate("window.took")))
        page.wait_for_timeout(300)
    return took


HOVER = """picture => {
  const frame = () => picture.querySelector('svg').innerHTML, before = frame();
  window.took = null;
  picture.addEventListener('pointermove', () => {
    const started = performance.now();
    const look = () => frame() === before ? requestAnimationFrame(look)
      : requestAnimationFrame(() => { window.took = performance.now() - started; });
    queueMicrotask(look);
  }, {once: true, capture: true});
}"""
"""Notes in ``took``, in milliseconds, how long the next move of the pointer takes until the field that it lights is
painted."""


def stages(page: Page, server: Server, moves: int) -> None:
    """Time the Stages page: from its address to the first picture, and from a move of the pointer to the lit field."""
    opened, took = [], []
    for number in range(5):
        started = time.monotonic()
        page.goto(f"{server.address}/stages?run=demo-pmr&image=test/ochre_finchling/{number:04}")
        page.wait_for_function(PAINTED)
        opened.append(1000 * (time.monotonic() - started))
    show("Stages page, address → first picture, each of another image", opened, 2000)
    page.wait_for_timeout(1500)
    picture = page.locator(".row button .picture").nth(1)
    box = picture.bounding_box()
    assert box is not None
    for move in range(moves):
        picture.evaluate(HOVER)
        page.mouse.move(box["x"] + 8 + 7 * (move % 30), box["y"] + 40 + 60 * (move % 2))
        page.wait_for_function("window.took !== null", timeout=20_000)
        took.append(float(page.evaluate("window.took")))
    show("Stages page, pointer → what the cell can see is lit, in five stages", took, 33)


PAINTED = """() => {
  const look = (root) => [...root.querySelectorAll('*')].some(one => one.shadowRoot ? look(one.shadowRoot)
    : one.tagName === 'CANVAS' && one.width > 100 && one.getContext('2d').getImageData(9, 9, 1, 1).data[3]);
  return look(document);
}"""
"""Whether a canvas of the page has pixels, also one in a component."""


def show(title: str, took: list[float], target_ms: float) -> None:
    p50, p95 = statistics.median(took), sorted(took)[int(0.95 * len(took))]
    print(title)
    print(f"  p50 {p50:.0f} ms, p95 {p95:.0f} ms of {len(took)}; p50 ≤ {target_ms:.0f}: {verdict(p50, target_ms)}")


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


@contextlib.contextmanager
def crowded(server: Server, visitors: int) -> Iterator[None]:
    """Let visitors change layouts meanwhile, as `benchmarks.app_load` has them, from a process of their own."""
    words = [sys.executable, "-m", "benchmarks.app_load", "--at", server.address, "--visitors", str(visitors)]
    others = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL)
    time.sleep(10)  # until all have opened the page
    try:
        yield
    finally:
        others.terminate()
        others.wait(20)


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
    parser.add_argument("--visitors", type=int, default=0, help="Others who change layouts meanwhile.")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        if not (options.at_work or options.visitors):
            start(page)
        with serving() as server, contextlib.ExitStack() as besides:
            if options.at_work:
                besides.enter_context(at_work(server))
            if options.visitors:
                besides.enter_context(crowded(server, options.visitors))
            for action in ACTIONS:
                took = measured(page, server, action, options.presses)
                show(action.title, took, AT_WORK_MS if options.at_work else action.target_ms)
            stages(page, server, options.presses)
        browser.close()


if __name__ == "__main__":
    main()
