"""How fast perturbations are done to a whole batch, beside the same rows image by image as a sweep's loader does them.

    python -m benchmarks.perturb
    python -m benchmarks.perturb --device cuda

Every row of PERTURBATIONS that has a form for batches, at its strongest usual severity. All pixels are compared first,
and a single one that differs ends the program: on a GPU that is the test of the promise that no device changes a pixel.
Times are of one process, in turns, medians, for each image. "One by one" is all that the row does; of the batch form,
"noise" is what the loader still makes, and "batch" the way to the device, the arithmetic there, and the way back.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import PIL
import torch
from torch import Tensor

from pmsi.perturbations import PERTURBATIONS, Factors, draw
from pmsi.perturbations.batched import BATCHED


def main() -> None:
    options = arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    images = np.random.default_rng(0).integers(0, 256, (options.batch, options.size, options.size, 3), dtype=np.uint8)
    benches = [Bench(name, images, torch.device(options.device)) for name in BATCHED]
    differing = [bench.name for bench in benches if not bench.agrees()]
    if differing:
        raise SystemExit(f"A batch has other pixels than its images one by one: {', '.join(differing)}.")
    print(f"{options.batch} images of {options.size} × {options.size} on {options.device}; all pixels are equal")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, Pillow {PIL.__version__}")
    print(f"medians of {options.repeats}, in turns; milliseconds for each image\n")
    print(f"{'':24}{'one by one':>12}{'noise':>8}{'batch':>8}{'one by one / both':>19}")
    for bench in benches:
        alone, noise, batch = (1000 * seconds / options.batch for seconds in bench.measured(options.repeats))
        print(f"{bench.name:24}{alone:12.2f}{noise:8.2f}{batch:8.2f}{alone / (noise + batch):19.2f}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Milliseconds of perturbing an image, in a batch and alone.")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=448, help="side of the images, in pixels")
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves its own choice")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


class Bench:
    """One row on a batch (b, h, w, 3), and its form for batches on a device."""

    def __init__(self, name: str, images: np.ndarray, device: torch.device) -> None:
        self.name, self.images, self.device = name, images, device
        self.severity, self.form = PERTURBATIONS[name].levels[-1], BATCHED[name]
        size = (images.shape[2], images.shape[1])
        self.factors: list[Factors] = [
            draw(name, self.severity, size, seed=0, key=str(number)) for number in range(len(images))
        ]
        self.given, self.drawn = self.pinned(images.transpose(0, 3, 1, 2)), self.noise()

    def pinned(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.pin_memory() if self.device.type == "cuda" else tensor

    def alone(self) -> np.ndarray:
        row, pairs = PERTURBATIONS[self.name], zip(self.images, self.factors, strict=True)
        return np.stack([row.apply(image, self.severity, factors) for image, factors in pairs])

    def noise(self) -> Tensor:
        shape = (self.images.shape[1], self.images.shape[2])
        return self.pinned(np.stack([self.form.noise(factors, shape) for factors in self.factors]))

    def batch(self) -> Tensor:
        images, noise = (tensor.to(self.device, non_blocking=True) for tensor in (self.given, self.drawn))
        return self.form.apply(images, self.severity, self.factors, noise).cpu()

    def agrees(self) -> bool:
        return np.array_equal(self.batch().permute(0, 2, 3, 1).numpy(), self.alone())

    def measured(self, repeats: int) -> list[float]:
        """Return the median seconds of the row, of the noise that the form leaves to the loader, and of the form."""
        ways: tuple[Callable[[], object], ...] = (self.alone, self.noise, self.batch)
        times = [[_seconds(way) for way in ways] for _ in range(repeats)]
        return [statistics.median(each) for each in zip(*times, strict=True)]


def _seconds(way: Callable[[], object]) -> float:
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
