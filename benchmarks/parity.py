"""How far an exported file and its page in browsers are from the network: 40 test photos, large and turned ones too.

    python -m benchmarks.parity RUN --runs runs --file bird.onnx --page bird.html --browsers Chromium Firefox

Of the photos, eight are enlarged to 12 megapixels, and eight are stored on their side with EXIF's orientation, of which
four are both. The reference is the network in torch on what `Predictor.prepare` makes of the upright photo. The file
takes the photo as it is decoded by Pillow, the page what the browser decodes.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from benchmarks.firefox import ANSWERED, READY, answer, firefox
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset
from pmsi.data.images import open_rgb
from pmsi.graph.engine import ENGINE, open_file
from pmsi.graph.onnx_model import STAGES
from pmsi.predictor import Predictor
from pmsi.runs import Run

PHOTOS = 40
LARGE = (4000, 3000)
ORIENTATION, SIDEWAYS = 0x0112, {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""EXIF's tag, and how a photo is stored that a viewer is to turn by 90° or 270°."""


class Seen(NamedTuple):
    """Logits (heads, classes) of a photo, the class explained, and its maps by stage."""

    logits: np.ndarray
    explained: int
    maps: dict[str, np.ndarray]


def main() -> None:
    """Parse the flags, compare, and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--file", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--browsers", nargs="+", choices=BROWSERS, default=["Chromium"])
    flags = parser.parse_args()
    os.environ[ENGINE] = "torch"
    run = Run.open(flags.runs, flags.run)
    predictor = Predictor.load(run, "cpu").raw()
    with tempfile.TemporaryDirectory() as folder:
        photos = [*stored(open_dataset(run.config), Path(folder))]
        expected = [by_network(predictor, path) for path in photos]
        if flags.file:
            compare(flags.file.name, expected, [by_file(flags.file, predictor.primary, path) for path in photos])
        if flags.page:
            for browser in flags.browsers:
                compare(f"{flags.page.name} in {browser}", expected, by_page(flags.page, photos, browser))


def stored(dataset: Dataset, folder: Path) -> Iterator[Path]:
    """Write the photos, evenly spread over the test images, and yield their files."""
    chosen = np.linspace(0, len(dataset.test) - 1, PHOTOS).round().astype(int)
    for number, index in enumerate(chosen):
        image, exif = dataset.open_image(dataset.test[index]).convert("RGB"), Image.Exif()
        if number % 5 == 0:
            image = image.resize(LARGE if image.width >= image.height else LARGE[::-1], Image.Resampling.BICUBIC)
        if number % 10 == 0 or number % 10 == 3:
            exif[ORIENTATION] = turned = (6, 8)[number // 10 % 2]
            image = image.transpose(SIDEWAYS[turned])
        path = folder / f"{number:02}.jpg"
        image.save(path, quality=92, exif=exif)
        yield path


def by_network(predictor: Predictor, path: Path) -> Seen:
    """Return what the run says of the upright photo."""
    found = predictor.maps_of(predictor.prepare(open_rgb(path)), predictor.primary, None, STAGES, "gradcam")
    logits = np.stack([found.logits[head].numpy() for head in predictor.heads])
    return Seen(logits, found.label, found.maps)


def by_file(file: Path, head: str, path: Path, opened: dict[Path, Any] = {}) -> Seen:  # noqa: B006 (opened once)
    """Return what an exported file says of the whole photo."""
    model = opened.setdefault(file, open_file(file))
    answer = model.explain_photo(np.asarray(open_rgb(path)), head)
    return Seen(np.stack([answer.logits[name] for name in model.heads]), answer.explained, answer.maps)


TOLD = """({
    heads: lab.about.heads.length,
    ms: lab.state.answers.map(({answer}) => answer.ms),
    found: lab.state.answers.map(({answer}) => [answer.logits, answer.explained,
        Object.entries(answer.maps).map(([stage, map]) => [stage, [...map.values], map.sides])]),
})"""
"""What the page found, as a script's expression."""


def by_page(page: Path, photos: list[Path], browser: str) -> list[Seen]:
    """Return what a page says of the files in a browser."""
    told = BROWSERS[browser](page.absolute().as_uri(), photos)
    print(f"in {browser} {np.median(told['ms']):.0f} ms a photo (median)")
    return [
        Seen(
            np.reshape(logits, (told["heads"], -1)),
            explained,
            {stage: np.reshape(values, sides) for stage, values, sides in maps},
        )
        for logits, explained, maps in told["found"]
    ]


def in_chromium(address: str, photos: list[Path]) -> Any:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        window = browser.new_page()
        window.goto(address)
        waited(window, READY)
        window.set_input_files("#file", photos)
        waited(window, f"{ANSWERED} === '{len(photos)} photos'")
        told = window.evaluate(TOLD)
        browser.close()
    return told


def in_firefox(address: str, photos: list[Path]) -> Any:
    with firefox() as window:
        window.open(address)
        window.until(READY)
        answer(window, photos)
        return window.value(TOLD)


BROWSERS = {"Chromium": in_chromium, "Firefox": in_firefox}


def waited(window: Any, question: str) -> None:
    """Wait for a script's answer; the page's policy forbids Playwright's own waiting."""
    while not window.evaluate(question):
        time.sleep(0.2)


def compare(name: str, expected: list[Seen], found: list[Seen]) -> None:
    """Print how many answers are equal, the errors of logits, and how maps correlate where they explain one class."""
    pairs = [*zip(expected, found, strict=True)]
    equal = sum(bool((a.logits.argmax(1) == b.logits.argmax(1)).all()) for a, b in pairs)
    errors = np.array([np.abs(a.logits - b.logits).max() for a, b in pairs])
    size = np.std([a.logits for a, _ in pairs])
    print(f"{name}: top-1 of all outputs equal on {equal} of {len(pairs)} photos")
    print(
        f"  logits (standard deviation {size:.2f}) apart by at most {errors.max():.4f}, median {np.median(errors):.1e}"
    )
    alike = [pair for pair in pairs if pair[0].explained == pair[1].explained]
    for stage in STAGES:
        both = [(a.maps[stage].ravel(), b.maps[stage].ravel()) for a, b in alike]
        moving = [np.corrcoef(pair)[0, 1] for pair in both if pair[0].any() and pair[1].any()]
        print(f"  {stage}: correlation of maps: median {np.median(moving):.4f}, least {np.min(moving):.4f}")


if __name__ == "__main__":
    main()
