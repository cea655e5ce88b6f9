"""Time and memory of `pmsi data check`, and how well duplicates are found, on crops of a folder's photos.

    python -m benchmarks.check --photos CUB_200_2011/images

Checked are 20,000 images of 128 px, and one JPEG of 108 megapixels among small ones; each in a process of its own, with
an empty cache and again. Then every tenth photo is changed as people change pictures, and searched for.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pmsi.data.duplicates import look_of, similar

COUNT, CLASSES, SIDE = 20_000, 100, 128
LARGE = (12_000, 9_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="Folder with photos, at any depth.")
    photos = sorted(parser.parse_args().photos.rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as folder:
        many, large = Path(folder, "many"), Path(folder, "large")
        write_crops(photos, many)
        write_large(photos, large)
        for title, place in ((f"{COUNT:,} images of {SIDE} px", many), ("a JPEG of 108 megapixels", large)):
            for state in ("empty", "filled"):
                print(f"{title}, cache {state}: {checked(place, Path(folder, f'cache of {place.name}'))}")
    print_found(photos)


def write_crops(photos: Sequence[Path], place: Path) -> None:
    """Write `COUNT` random squares of the photos into class folders with a split."""
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        with Image.open(photos[number % len(photos)]) as photo:
            side = int(min(photo.size) * generator.uniform(0.3, 0.6))
            x, y = (int(generator.integers(0, length - side + 1)) for length in photo.size)
            crop = photo.convert("RGB").crop((x, y, x + side, y + side)).resize((SIDE, SIDE))
        home = place / ("train", "test")[number % 2] / f"class {number // 2 % CLASSES:03}"
        home.mkdir(parents=True, exist_ok=True)
        crop.save(home / f"{number:05}.jpg", quality=85)


def write_large(photos: Sequence[Path], place: Path) -> None:
    """Write two classes of photos, one of them enlarged to `LARGE`."""
    for number, photo in enumerate(photos[:5]):
        home = place / f"{number % 2}"
        home.mkdir(parents=True, exist_ok=True)
        with Image.open(photo) as image:
            (image.resize(LARGE) if number == 4 else image).convert("RGB").save(home / f"{number}.jpg", quality=90)


def checked(place: Path, cache: Path) -> str:
    """Return the seconds and the memory of a check in a new process."""
    command = [sys.executable, "-m", "pmsi", "data", "check", "--dataset", "folder", "--data", str(place), "--json"]
    code = f"import subprocess, resource; subprocess.run({command}, check=True, stdout=subprocess.DEVNULL); " + (
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    began = time.perf_counter()
    environment = os.environ | {"PMSI_CACHE": str(cache)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    seconds, kilobytes = map(float, done.stdout.split())
    return f"{time.perf_counter() - began:.1f} s, {seconds:.1f} s of CPU, at most {kilobytes / 1024:.0f} MB of memory"


def saved(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def cropped(image: Image.Image, share: float) -> Image.Image:
    x, y = (round(length * share / 2) for length in image.size)
    return image.crop((x, y, image.width - x, image.height - y))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved as JPEG of quality 20": lambda image: saved(image, 20),
    "a quarter as wide": lambda image: saved(image.resize((image.width // 4, image.height // 4)), 75),
    "10 % brighter": lambda image: image.point(lambda value: min(255, round(value * 1.1))),
    "cropped by 2 %": lambda image: cropped(image, 0.02),
    "cropped by 5 %": lambda image: cropped(image, 0.05),
}


def print_found(photos: Sequence[Path]) -> None:
    """Print the pairs that are found among the photos, and how many changed ones are found."""
    looks = looks_of(Image.open(photo).convert("RGB") for photo in photos)
    began = time.process_time()
    pairs = {*similar(looks, np.arange(len(looks)))}
    print(f"{len(looks):,} photos: {len(pairs)} pairs alike, {time.process_time() - began:.2f} s of CPU to search")
    some = len(looks[::10])
    for title, change in CHANGES.items():
        changed = looks_of(change(Image.open(photo).convert("RGB")) for photo in photos[::10])
        found = {*similar(np.concatenate([looks[::10], changed]), np.repeat([0, 1], some))}
        print(f"{title}: {sum((i, i + some) in found for i in range(some))} of {some} found")


def looks_of(images: Iterable[Image.Image]) -> np.ndarray:
    return np.array([list(bytes.fromhex(look_of(image))) for image in images], dtype=np.uint8)


if __name__ == "__main__":
    main()
