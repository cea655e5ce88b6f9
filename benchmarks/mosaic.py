"""Speed of cutting and mixing images: each augmentation, a loop over images, and a copy of the batch.

All take turns in one process, on the same uint8 batch; medians are printed. Each loop's result is first checked to be
equal to ours for the same draw. Times include drawing.

The loops are plain implementations: one image after the other, with cloned patches. Published code of these methods
normalises first and so moves float32; the loops that only move pixels are therefore also timed in float32.

    python -m benchmarks.mosaic --threads 2
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from pmsi.augment import jigsaw, mixing, mosaic

LOOP_TARGET = 10.0
COPY_TARGETS = {"cpu": 0.3, "cuda": 0.7}
"""What a mosaic has to reach: so many times the speed of the loop, and this share of a copy's."""

Box = list[int]


# The loops


def lay_down(image: Tensor, corners: list[tuple[int, int]], size: tuple[int, int], order: list[int]) -> None:
    """Permute the patches of ``size`` at ``corners`` in place, by way of clones."""
    height, width = size
    patches = [image[:, y : y + height, x : x + width].clone() for y, x in corners]
    for (y, x), source in zip(corners, order, strict=True):
        image[:, y : y + height, x : x + width] = patches[source]


def mosaic_loop(images: Tensor, layout: mosaic.Layout) -> Tensor:
    images = images.clone()
    for image, orders, picks in zip(images, layout.orders.tolist(), layout.picks.tolist(), strict=True):
        top, left, height, width = 0, 0, *image.shape[1:]
        for order, pick in zip(orders, picks, strict=True):
            height, width = height // 2, width // 2
            corners = [(top + y, left + x) for y in (0, height) for x in (0, width)]
            lay_down(image, corners, (height, width), order)
            top, left = corners[pick]
    return images


def jigsaw_loop(images: Tensor, cells: Tensor) -> Tensor:
    images, n = images.clone(), cells.shape[1]
    height, width = images.shape[2] // n, images.shape[3] // n
    corners = [(y * height, x * width) for y in range(n) for x in range(n)]
    for image, order in zip(images, cells.flatten(1).tolist(), strict=True):
        lay_down(image, corners, (height, width), order)
    return images


def mixup_loop(images: Tensor, blend: mixing.Blend) -> Tensor:
    mixed = torch.empty_like(images)
    for i, (partner, lam) in enumerate(zip(blend.partner.tolist(), blend.lam.tolist(), strict=True)):
        mixed[i] = (lam * images[i] + (1 - lam) * images[partner]).round()
    return mixed


def cutmix_loop(images: Tensor, paste: mixing.Paste) -> Tensor:
    mixed = images.clone()
    for i, (partner, (top, left, bottom, right)) in enumerate(pairs(paste.partner, paste.onto)):
        mixed[i, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    return mixed


def snapmix_loop(images: Tensor, paste: mixing.Paste, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the images and the two weights of each, (2, b): other than in CutMix they take work of their own."""
    mixed, weights = images.clone(), []
    for i, (partner, onto) in enumerate(pairs(paste.partner, paste.onto)):
        (top, left, bottom, right), source = onto, paste.source[i].tolist()
        content = images[None, partner, :, source[0] : source[2], source[1] : source[3]].float()
        content = F.interpolate(content, size=(bottom - top, right - left), mode="bilinear", align_corners=True)
        mixed[i, :, top:bottom, left:right] = content[0].round()
        weights.append(torch.stack([1 - mass(maps[i], images, onto), mass(maps[partner], images, source)]))
    return mixed, torch.stack(weights, dim=1)


def pairs(partner: Tensor, boxes: Tensor) -> list[tuple[int, Box]]:
    return list(zip(partner.tolist(), boxes.tolist(), strict=True))


def mass(seen: Tensor, images: Tensor, box: Box) -> Tensor:
    """Return the share of one map's mass that is in a box."""
    seen = F.interpolate(seen[None, None], size=images.shape[2:], mode="bilinear")[0, 0]
    seen = seen - seen.min()
    return seen[box[0] : box[2], box[1] : box[3]].sum() / seen.sum()


# Ours beside them


@dataclass(frozen=True)
class Case:
    """An augmentation: how it draws, what we do with the draw, and what the loop does with it.

    ``moves`` says that it only moves pixels, so that the loop can also be given float32.
    """

    name: str
    draw: Callable[[torch.Generator], object]
    ours: Callable[[Tensor, object], object]
    loop: Callable[[Tensor, object], object]
    moves: bool = True


def cases(images: Tensor) -> list[Case]:
    """Return the rows of the benchmark for a batch."""
    b, size, labels = len(images), images.shape[2:], torch.zeros(len(images), dtype=torch.int64, device=images.device)
    maps = torch.rand(b, 14, 14, generator=torch.Generator().manual_seed(1)).to(images.device)

    def mosaics(r: int) -> Case:
        return Case(f"mosaic r = {r}", lambda g: mosaic.plan(b, r, generator=g), mosaic.apply, mosaic_loop)

    def jigsaws(r: int) -> Case:
        return Case(f"jigsaw n = {2**r}", lambda g: jigsaw.plan(b, r, generator=g), jigsaw.apply, jigsaw_loop)

    def snap(batch: Tensor, drawn: mixing.Paste) -> tuple[Tensor, Tensor]:
        mixed, target = mixing.snapmix(batch, labels, drawn, maps)
        return mixed, torch.stack([target.weight_a, target.weight_b])

    return [
        *(mosaics(r) for r in (1, 2, 3)),
        *(jigsaws(r) for r in (1, 2, 3)),
        Case(
            "cutmix",
            lambda g: mixing.plan_cut(b, size, generator=g),
            lambda batch, drawn: mixing.cutmix(batch, labels, drawn)[0],
            cutmix_loop,
        ),
        Case(
            "mixup",
            lambda g: mixing.plan_blend(b, generator=g),
            lambda batch, drawn: mixing.mixup(batch, labels, drawn)[0],
            mixup_loop,
            moves=False,
        ),
        Case(
            "snapmix",
            lambda g: mixing.plan_snap(b, size, generator=g),
            snap,
            lambda batch, drawn: snapmix_loop(batch, drawn, maps),
            moves=False,
        ),
    ]


def check(case: Case, images: Tensor) -> None:
    """Stop unless ours is the loop's result for one draw: exactly, or within rounding where pixels are computed."""
    drawn = case.draw(torch.Generator().manual_seed(0))
    results = [
        made if isinstance(made, tuple) else (made,) for made in (f(images, drawn) for f in (case.ours, case.loop))
    ]
    for allowed, ours, loops in zip((0 if case.moves else 1, 1e-4), *results, strict=False):
        difference = (ours.double() - loops.double()).abs().max().item()
        if difference > allowed:
            raise SystemExit(f"{case.name}: our result differs from the loop's by {difference:g}.")


# Timing


def milliseconds(work: Callable[[], object], device: torch.device) -> float:
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (time.perf_counter() - begun)


def measure(case: Case, images: Tensor, floats: Tensor, repeats: int) -> dict[str, float]:
    """Return the median times of a case in ms; contestants take turns, so that a busy machine slows them alike."""
    generator = torch.Generator().manual_seed(2)
    work = {
        "copy": images.clone,
        "ours": lambda: case.ours(images, case.draw(generator)),
        "loop": lambda: case.loop(images, case.draw(generator)),
    }
    if case.moves:
        work["float loop"] = lambda: case.loop(floats, case.draw(generator))
    for warm_up in work.values():
        milliseconds(warm_up, images.device)
    times = {name: [] for name in work}
    for _ in range(repeats):
        for name, contestant in work.items():
            times[name].append(milliseconds(contestant, images.device))
    return {name: statistics.median(found) for name, found in times.items()}


# Printing

COLUMNS = ("copy", "ours", "loop", "float loop")
RATIOS = ("loop", "float loop", "copy")
"""How many times as fast as each of these ours is."""


def header() -> str:
    return f"{'':14}" + "".join(f"{name:>12}" for name in COLUMNS) + "".join(f"{f'× {name}':>14}" for name in RATIOS)


def line(name: str, times: dict[str, float]) -> str:
    shown = [f"{times[column]:12.2f}" if column in times else f"{'–':>12}" for column in COLUMNS]
    ratios = [f"{times[name] / times['ours']:13.2f}×" if name in times else f"{'–':>14}" for name in RATIOS]
    return f"{name:14}" + "".join(shown + ratios)


def verdicts(times: dict[str, dict[str, float]], device: torch.device) -> list[str]:
    """Return a line for each target of the mosaic: the ratio that is furthest from it, and whether it is met."""
    mosaics = [found for name, found in times.items() if name.startswith("mosaic")]
    copy_target = COPY_TARGETS[device.type]
    best_possible = statistics.median(found["loop"] / found["copy"] for found in mosaics)
    told = []
    for about, column, target in (
        ("the loop on the same uint8 batch", "loop", LOOP_TARGET),
        ("the loop on float32, as usual code runs it", "float loop", LOOP_TARGET),
        ("a copy of the batch", "copy", copy_target),
    ):
        lowest = min(found[column] / found["ours"] for found in mosaics)
        told.append(f"mosaic ≥ {target:g}× {about}: {'met' if lowest >= target else 'missed'} ({lowest:.2f}×)")
    return [*told, f"for comparison, a copy of the batch is {best_possible:.1f}× as fast as the loop on uint8"]


def processor(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = [text.partition(":")[2].strip() for text in lines if text.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time the augmentations beside loops and a copy.")
    parser.add_argument("--batch", type=int, default=32, help="images in the batch (32)")
    parser.add_argument("--size", type=int, default=448, help="side of an image in pixels, a multiple of 8 (448)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads (all cores)")
    parser.add_argument("--device", default="cpu", choices=sorted(COPY_TARGETS), help="where the batch is (cpu)")
    parser.add_argument("--repeats", type=int, default=20, help="repetitions, of which the median counts (20)")
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    torch.set_num_threads(chosen.threads)
    device = torch.device(chosen.device)
    shape = (chosen.batch, 3, chosen.size, chosen.size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).to(device)
    floats = images.float()
    print(f"{' × '.join(map(str, shape))} on {processor(device)}, {chosen.threads} CPU threads, {platform.system()}")
    print(f"torch {torch.__version__}, Python {platform.python_version()}; medians of {chosen.repeats} turns, in ms")
    print(header())
    times = {}
    for case in cases(images):
        check(case, images)
        times[case.name] = measure(case, images, floats, chosen.repeats)
        print(line(case.name, times[case.name]), flush=True)
    print(*verdicts(times, device), sep="\n")


if __name__ == "__main__":
    main()
