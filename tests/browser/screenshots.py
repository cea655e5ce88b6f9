"""Make the pictures of the app that the documentation shows, by clicking: ``python tests/browser/screenshots.py``.

A server of its own is started with an empty runs folder (or ``--runs``, whose newest finished training run is then
shown), the quick preset is trained, and each page is taken at 1440 × 900 and at 390 × 844.
"""

import argparse
import re
import tempfile
from pathlib import Path

from driving import ARGUMENTS, CHROMIUM, ROOT, expect_state, fill, go, serving, start
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from pmsi.config import TrainConfig
from pmsi.runs import State, list_runs

SIZES = {"": (1440, 900), "-narrow": (390, 844)}
TRAINING_S = 1800


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the pictures of the app for the documentation.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="Folder [docs/images].")
    parser.add_argument("--runs", type=Path, help="Runs folder with a finished training run; else one is trained.")
    parser.add_argument("--epochs", type=int, help="Train so many epochs, not as many as the quick preset says.")
    parser.add_argument("--dark", action="store_true", help="Take them in the dark theme.")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=60_000)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        runs = arguments.runs or Path(folder) / "runs"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        with serving(runs) as address:
            take_all(browser, address, runs, arguments)
        browser.close()


def take_all(browser: Browser, address: str, runs: Path, arguments: argparse.Namespace) -> None:
    """Train if there is nothing to show, then take every page."""
    run = finished(runs)
    if run is None:
        page = opened(browser, address, SIZES[""], arguments.dark)
        train(page, arguments)
        page.close()
        run = finished(runs)
    assert run is not None, "The training run did not finish."
    for suffix, size in SIZES.items():
        page = opened(browser, address, size, arguments.dark)
        for name, path in {
            "home": "/",
            "game": "/game",
            "mosaic": "/mosaic",
            "data": "/data",
            "train": "/train",
            "runs": "/runs",
            "run": f"/runs?run={run}",
            "perturb": f"/perturb?run={run}&k=0.5",
            "stages": f"/stages?run={run}",
            "maps": f"/maps?run={run}",
            "sweeps": "/sweeps",
            "tables": "/tables?table=3",
        }.items():
            page.goto(path)
            take(page, arguments.out / f"{name}{suffix}.png")
        page.close()


def finished(runs: Path) -> str | None:
    """Return the newest finished training run."""
    trained = (run for run in list_runs(runs) if run.state is State.FINISHED and isinstance(run.config, TrainConfig))
    return next((run.id for run in trained), None)


def opened(browser: Browser, address: str, size: tuple[int, int], dark: bool) -> Page:
    """Return a window of this size on the first page."""
    width, height = size
    scheme = "dark" if dark else "light"
    context = browser.new_context(
        viewport={"width": width, "height": height}, base_url=address, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto("/")
    return page


def train(page: Page, arguments: argparse.Namespace) -> None:
    """Train the quick preset, and take the run while it is worked on."""
    go(page, "Train")
    if arguments.epochs:
        fill(page, "Epochs", arguments.epochs, "--epochs")
    start(page)
    epoch = (
        page.get_by_text(re.compile(r"^epoch ([4-9]|\d\d+) of")) if not arguments.epochs else page.get_by_text("epoch")
    )
    expect(epoch.first).to_be_visible(timeout=TRAINING_S * 1000)
    take(page, arguments.out / "live.png")
    expect_state(page, "finished", TRAINING_S)


def take(page: Page, file: Path) -> None:
    """Wait until everything is drawn, then write the picture."""
    expect(page.get_by_role("heading").first).to_be_visible()
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
    page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth)")
    page.wait_for_function(
        "[...document.querySelectorAll('.js-plotly-plot')].every(plot => plot.querySelector('.scatterlayer'))"
    )
    page.mouse.move(0, 0)
    page.screenshot(path=file, animations="disabled")
    with Image.open(file) as taken:  # 256 colours are a third of the bytes
        taken.convert("RGB").quantize(256).save(file, optimize=True)
    print(file)


if __name__ == "__main__":
    main()
