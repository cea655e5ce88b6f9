"""Speed of a training step in images per second, compared with the usual loop of these methods, and the limits.

The usual loop is written like most public code of progressive training: images are normalised before they are cut,
Python loops over images move patches, the network is in torch's default memory format and float32, every head's loss is
computed in every phase and read back from the device, and the optimizer is torch's plain SGD. Phases, heads, losses and
learning rates are the same on both sides. Both start from the same weights, and are first checked to give the same loss
for the same images.

Each has a process of its own, because memory settings are per process; they take turns, and medians are printed. Then
follow the parts of our step's time, and its distance from the machine's limits (matrix products, memory, decoding).

    python -m benchmarks.step --threads 2
    python -m benchmarks.step --size 448 --precision bfloat16 --compile --repeats 20        (on a GPU)
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.mosaic import mosaic_loop
from pmsi.augment.mosaic import plan
from pmsi.config import TrainConfig
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.preprocessing import normalize, resize
from pmsi.engine.costs import costs_of
from pmsi.engine.device import find_device
from pmsi.methods import build, resolve
from pmsi.model import Recognizer
from pmsi.runs import Run
from pmsi.training.session import Training

TARGETS = {"cpu": 1.5, "cuda": 3.0}
CLASSES = 200


class UsualLoop:
    """One step for each phase, as public code has it."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.phases = resolve(config).phases
        self.model = build(config, CLASSES).to(device).train()
        for parameter in self.model.parameters():
            parameter.data = parameter.data.contiguous()  # torch's default format
        groups = [
            {"params": self.model.backbone.parameters(), "lr": config.lr_pretrained},
            {"params": self.model.new_parameters(), "lr": config.lr_new},
        ]
        if config.weights == "none":
            groups[0]["lr"] = config.lr_new
        self.optimizer = torch.optim.SGD(groups, momentum=config.momentum, weight_decay=config.weight_decay)
        self.read_back = 0.0

    def step(self, images: Tensor, labels: Tensor) -> None:
        for phase in self.phases:
            self.optimizer.zero_grad()
            layout = plan(len(images), phase.r, generator=torch.Generator().manual_seed(phase.r))
            shown = mosaic_loop(images, layout) if phase.r else images
            outputs = self.model(shown)
            losses = {head: F.cross_entropy(logits, labels) for head, logits in outputs.items()}
            losses[phase.head].backward()
            self.optimizer.step()
            self.read_back += sum(loss.item() for loss in losses.values())


def noise(count: int, size: int) -> Dataset:
    """Return a data set of random pictures: a step's time does not depend on what they show."""

    def open_image(sample: Sample) -> Image.Image:
        pixels = np.random.default_rng(int(sample.key)).integers(0, 256, (size, size, 3), dtype=np.uint8)
        return Image.fromarray(pixels)

    samples = tuple(Sample(str(i), i % CLASSES) for i in range(count))
    names = tuple(f"class {i}" for i in range(CLASSES))
    return Dataset("noise", names, samples, samples[:1], open_image)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def median_of(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    seconds(work, device)
    return statistics.median(seconds(work, device) for _ in range(repeats))


@torch.no_grad()
def loss_at_rest(model: Recognizer, images: Tensor, labels: Tensor) -> float:
    """Return the loss of the primary head, without dropout and with BatchNorm's running statistics."""
    loss = F.cross_entropy(model.eval()(images)[model.primary], labels).item()
    model.train()
    return loss


def usual_process(config: TrainConfig, batch: tuple[Tensor, Tensor], wire: Connection) -> None:
    """Take a step for each message, and answer how long it took; the first answer is the loss before any."""
    if config.threads:
        torch.set_num_threads(config.threads)
    device = find_device(config.device)
    images, labels = (part.to(device) for part in batch)
    floats = normalize(images).contiguous()
    usual = UsualLoop(config, device)
    wire.send(loss_at_rest(usual.model, floats, labels))
    while wire.recv():
        wire.send(seconds(lambda: usual.step(floats, labels), device))


def print_parts(trainer: Training, images: Tensor, labels: Tensor, repeats: int, whole: float) -> None:
    """Print where the time of our step goes, part by part, each measured alone."""
    device, phases = trainer.device, trainer.system.phases
    normalised = normalize(images)
    model, target = trainer.model, trainer.system.augmentation

    def mosaics() -> None:
        for phase in phases:
            target.augment(images, labels, phase.r, torch.Generator().manual_seed(0), trainer.config, lambda: images)

    def forward() -> None:
        with torch.no_grad():
            for _ in phases:
                model(normalised)

    parts = {
        "mosaics": mosaics,
        "normalising": lambda: [normalize(images) for _ in phases],
        "forward passes": forward,
        "optimizer": lambda: [trainer.optimizer.step() for _ in phases],
    }
    spent = {name: median_of(work, device, repeats) for name, work in parts.items()}
    spent["backward passes, and the rest"] = whole - sum(spent.values())
    print("\nWhere the time of our step goes:")
    for name, taken in spent.items():
        print(f"  {name:32} {1000 * taken:9.1f} ms  {taken / whole:6.1%}")


def print_limits(trainer: Training, images: Tensor, repeats: int, whole: float) -> None:
    """Print what the step does in a second, and what the machine can do at most."""
    device, config = trainer.device, trainer.config
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[config.precision]
    side = 8192 if device.type == "cuda" else 1536
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    peak = 2 * side**3 / median_of(lambda: a @ b, device, repeats)
    large = torch.empty(2**28 if device.type == "cuda" else 2**25, device=device)
    bandwidth = 2 * large.numel() * 4 / median_of(large.clone, device, repeats)
    done = 2 * costs_of(config, CLASSES).macs_train * config.batch_size / whole
    picture = noise(1, 512).open_image(Sample("0", 0))
    decode = 1 / median_of(lambda: resize(picture, config.resize_to), torch.device("cpu"), repeats)
    print("\nHow far from the limit:")
    print(f"  multiply-adds of the step          {done / 1e9:10.1f} GFLOP/s, {done / peak:.0%} of a matrix product's")
    print(f"  a matrix product of {side} × {side}    {peak / 1e9:10.1f} GFLOP/s")
    print(f"  a copy in memory                   {bandwidth / 1e9:10.1f} GB/s")
    print(f"  images resized by one core         {decode:10.1f} a second; the step takes {len(images) / whole:.1f}")


def main() -> None:
    """Parse the flags, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="pmr")
    parser.add_argument("--smooth-conv", default="paper")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    flags = parser.parse_args()
    config = TrainConfig(
        method=flags.method, smooth_conv=flags.smooth_conv, backbone=flags.backbone, weights="none",
        image_size=flags.size, resize=flags.size, batch_size=flags.batch, threads=flags.threads, device=flags.device,
        precision=flags.precision, compile=flags.compile, epochs=10**5, trackers=(),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        trainer = Training(config, noise(flags.batch, flags.size), Run.create(Path(folder), config))
        compare(trainer, flags.repeats)


def compare(trainer: Training, repeats: int) -> None:
    """Measure both loops in turn, and print their ratio and what lies behind it."""
    config, device = trainer.config, trainer.device
    batch = next(trainer.loader.epoch(0))
    images, labels = (part.to(device) for part in batch)
    trainer.model.train()
    wire, theirs_end = Pipe()
    usual = get_context("spawn").Process(target=usual_process, args=(config, batch, theirs_end), daemon=True)
    usual.start()
    losses = [loss_at_rest(trainer.model, normalize(images), labels), wire.recv()]
    if abs(losses[0] - losses[1]) > 1e-2 * abs(losses[1]):
        raise SystemExit(f"Both sides should compute the same loss, but found {losses}.")
    times: dict[str, list[float]] = {"ours": [], "usual": []}
    for repeat in range(repeats + 2):
        taken = {"ours": seconds(lambda: trainer._train_batch(batch, 0), device)}
        wire.send(True)
        taken["usual"] = wire.recv()
        if repeat >= 2:  # the first two warm up caches, cuDNN and the compiler
            for name, value in taken.items():
                times[name].append(value)
    wire.send(False)
    usual.join()
    ours, theirs = (statistics.median(found) for found in times.values())
    print_ratio(config, device, ours, theirs)
    print_parts(trainer, images, labels, max(1, repeats // 2), ours)
    print_limits(trainer, images, max(1, repeats // 2), ours)


def print_ratio(config: TrainConfig, device: torch.device, ours: float, theirs: float) -> None:
    """Print both speeds, how many times the usual one ours is, and whether that is enough."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(
        f"{config.method} on {config.backbone}, smooth conv {config.smooth_conv}, {config.image_size} px, batch "
        f"{config.batch_size}, {config.precision}{', compiled' if config.compile else ''}"
    )
    print(f"  ours        {config.batch_size / ours:9.1f} images/s   {ours:8.3f} s a batch")
    print(f"  usual loop  {config.batch_size / theirs:9.1f} images/s   {theirs:8.3f} s a batch")
    verdict = "met" if theirs / ours >= TARGETS[device.type] else "missed"
    print(f"  ratio       {theirs / ours:9.2f}            target {TARGETS[device.type]}: {verdict}")


if __name__ == "__main__":
    main()
