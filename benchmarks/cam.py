"""Speed of Grad-CAM of three stages, compared with torch-cam, pytorch-grad-cam, and the forward pass alone.

The libraries are used as documented, on the original model in torch's default memory format, with parameters that
require gradients: torch-cam once, with three target layers, in one backward pass; pytorch-grad-cam once per layer,
because its result for several layers is their mean. Ours is one call on the folded copy that the reports use, for
comparison on the original model, and on a CPU by the model's graph in ONNX Runtime, as the app and exported files do
it. All return maps of the image's size, scaled to 0–1, and are first checked to be equal. Beside them is an answer
alone: by torch as the model is (eager), by the folded copy, and by the graph.

The libraries, our torch and the graph have a process each, because how long idle threads wait on their cores is a
setting of a process: the libraries have OpenMP's default, ours what pmsi sets. They take turns of a few calls; medians
and ratios are printed.

    python -m benchmarks.cam --threads 2
    python -m benchmarks.cam --size 448 --smooth-conv separable --device cuda
"""

import argparse
import copy
import os
import platform
import statistics
from collections.abc import Callable
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch import Tensor, nn

import pmsi.base.vision  # noqa: F401  (before pytorch_grad_cam, which imports torchvision)
from benchmarks.step import seconds
from pmsi.config import TrainConfig
from pmsi.data.preprocessing import normalize
from pmsi.engine.device import find_device
from pmsi.engine.folding import folded
from pmsi.explain import cam, resize
from pmsi.graph.engine import LONG, graph_of
from pmsi.methods import build
from pmsi.model import Recognizer

TARGET, TARGET_TORCH_CAM, TARGET_ANSWER = 8.0, 2.5, 2.3
"""Times that ours is to be faster than three calls of pytorch-grad-cam and, on a CPU, than torch-cam; and an answer by
the graph than one by torch as the model is."""
OURS, GRAPH = "ours", "ours, by its graph"
EAGER, GRAPH_ANSWER = "an answer alone, eager", "an answer alone, by its graph"
GRAD_CAM, TORCH_CAM = "pytorch-grad-cam, three calls", "torch-cam, one call"
TURN = 5
"""Calls of one contestant in a row, of which the first, for which caches are cold, does not count."""

SPINS = "300000"
"""GOMP_SPINCOUNT of a process that does not set it: GCC's libgomp, OMP_WAIT_POLICY undefined."""

TOLERANCE = 0.01
"""Mean difference of two maps that are equal but for rounding, which can move a peak among near ties."""

CLASSES = 200
STAGES = ("S3", "S4", "S5")


class OneHead(nn.Module):
    """A recogniser as pytorch-grad-cam wants it: a module with one output."""

    def __init__(self, model: Recognizer) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)[self.model.primary]


def plain(model: Recognizer) -> tuple[OneHead, list[nn.Module]]:
    """Return a copy of a model in torch's default memory format, with one output, and its stages as layers."""
    model = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()
    layers = [model.backbone.pieces[model.backbone.ends[int(stage[1]) - 1]] for stage in STAGES]
    return OneHead(model).eval(), layers


class PytorchGradCam:
    """Three explainers of pytorch-grad-cam, one for each stage."""

    def __init__(self, model: Recognizer, classes: list[int]) -> None:
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        self.model, self.layers = plain(model)
        self.method, self.targets = GradCAM, [ClassifierOutputTarget(label) for label in classes]

    def maps(self, images: Tensor) -> dict[str, np.ndarray]:
        found = {}
        for stage, layer in zip(STAGES, self.layers, strict=True):
            with self.method(self.model, [layer]) as explainer:
                found[stage] = explainer(images, self.targets)
        return found


class TorchCam:
    """One explainer of torch-cam with three target layers."""

    def __init__(self, model: Recognizer, classes: list[int], size: int) -> None:
        from torchcam.methods import GradCAM

        self.model, layers = plain(model)
        self.explainer, self.classes, self.size = GradCAM(self.model, layers), classes, size

    def maps(self, images: Tensor) -> dict[str, np.ndarray]:
        found = self.explainer(self.classes, self.model(images))
        return {stage: resize(each, self.size).cpu().numpy() for stage, each in zip(STAGES, found, strict=True)}


def settled(config: TrainConfig, device: torch.device) -> Recognizer:
    """Return a model with BatchNorm statistics of some images, so that its maps say something."""
    torch.manual_seed(0)
    model = build(config, CLASSES).to(device).train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 3, 64, 64, device=device))
    return model.eval()


def check_same(who: str, ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    for stage in STAGES:
        apart = float(np.abs(ours[stage] - theirs[stage]).mean())
        if not apart <= TOLERANCE:
            raise SystemExit(f"{who} should give the same map of {stage}, but differs by {apart:.3f} on average.")


class Setup:
    """The model and the images that every process makes anew from the same seeds, and what each compares with."""

    def __init__(self, config: TrainConfig, batch: int, device: torch.device) -> None:
        self.config, self.device = config, device
        self.model = settled(config, device)
        self.folded = folded(self.model)
        shape, generator = (batch, 3, config.image_size, config.image_size), torch.Generator().manual_seed(0)
        self.pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        self.images = normalize(self.pixels.to(device))
        self.classes = self.shown_classes(batch)

    def shown_classes(self, batch: int) -> list[int]:
        """Return for each image the first class that has a map in every stage: a map of zeros compares with nothing."""
        found: list[int] = [-1] * batch
        for label in range(CLASSES):
            raw = cam(self.folded, self.images, classes=torch.full((batch,), label, device=self.device), stages=STAGES)
            some = torch.stack([raw.raw[stage].amax((1, 2)) > raw.raw[stage].amin((1, 2)) for stage in STAGES]).all(0)
            found = [label if known < 0 and shows else known for known, shows in zip(found, some.tolist(), strict=True)]
            if min(found) >= 0:
                return found
        raise SystemExit("This model has no class with a map in every stage: try another --method or --backbone.")

    def maps(self, model: Recognizer) -> dict[str, np.ndarray]:
        labels = torch.tensor(self.classes, device=self.device)
        return self.shown(cam(model, self.images, classes=labels, stages=STAGES).raw)

    def shown(self, raw: dict[str, Tensor]) -> dict[str, np.ndarray]:
        lows = {stage: values.amin((1, 2), True) for stage, values in raw.items()}
        units = {s: (values - lows[s]) / (values.amax((1, 2), True) - lows[s]) for s, values in raw.items()}
        return {stage: resize(values, self.config.image_size).cpu().numpy() for stage, values in units.items()}

    def answer(self, model: Recognizer) -> None:
        with torch.inference_mode():
            model(self.images)


Contestants = dict[str, Callable[[], object]]


def libraries(setup: Setup) -> Contestants:
    grad_cam = PytorchGradCam(setup.model, setup.classes)
    torch_cam = TorchCam(setup.model, setup.classes, setup.config.image_size)
    plain = setup.images.contiguous()
    for name, peer in ((GRAD_CAM, grad_cam), (TORCH_CAM, torch_cam)):
        check_same(name, setup.maps(setup.folded), peer.maps(plain))
    return {
        GRAD_CAM: lambda: grad_cam.maps(plain),
        TORCH_CAM: lambda: torch_cam.maps(plain),
        EAGER: lambda: setup.answer(setup.model),
    }


def ours(setup: Setup) -> Contestants:
    return {
        "ours, not folded": lambda: setup.maps(setup.model),
        OURS: lambda: setup.maps(setup.folded),
        "an answer alone, folded": lambda: setup.answer(setup.folded),
    }


def by_graph(setup: Setup) -> Contestants:
    config = setup.config
    graph = graph_of(setup.model, (config.resize_to, config.image_size), LONG)
    if graph is None:
        return {}
    pixels = setup.pixels.numpy()

    def maps() -> dict[str, np.ndarray]:
        both = zip(pixels, setup.classes, strict=True)
        found = [graph.explain(each, setup.model.primary, label).maps for each, label in both]
        return setup.shown({stage: torch.from_numpy(np.stack([maps[stage] for maps in found])) for stage in STAGES})

    check_same(GRAPH, setup.maps(setup.folded), maps())
    return {GRAPH: maps, GRAPH_ANSWER: lambda: graph.answer(pixels)}


PROCESSES: dict[Callable[[Setup], Contestants], dict[str, str]] = {
    libraries: {"GOMP_SPINCOUNT": SPINS},
    ours: {},
    by_graph: {},
}
"""What runs in a process of its own, and the environment in which it differs from pmsi's."""


def process(group: Callable[[Setup], Contestants], given: tuple[TrainConfig, int, str, int], wire: Connection) -> None:
    """Send the names of a group's contestants, then the seconds of a turn of each whose name comes."""
    config, batch, device, threads = given
    if threads:
        torch.set_num_threads(threads)
    setup = Setup(config, batch, torch.device(device))
    contestants = group(setup)
    wire.send((list(contestants), torch.get_num_threads()))
    while name := wire.recv():
        wire.send([seconds(contestants[name], setup.device) for _ in range(TURN)][1:])


def main() -> None:
    """Parse the flags, measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="pmr")
    parser.add_argument("--smooth-conv", default="paper")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=6)
    flags = parser.parse_args()
    config = TrainConfig(
        method=flags.method, smooth_conv=flags.smooth_conv, backbone=flags.backbone, weights=flags.weights,
        image_size=flags.size,
    )  # fmt: skip
    device = find_device(flags.device)
    median, threads = measured((config, flags.batch, str(device), flags.threads), flags.repeats)
    print_report(config, flags.batch, device, median, threads)


def measured(given: tuple[TrainConfig, int, str, int], repeats: int) -> tuple[dict[str, float], int]:
    """Return the median seconds of every contestant, and the threads of their processes."""
    where: dict[str, Connection] = {}
    for group, environment in PROCESSES.items():
        wire, theirs = Pipe()
        before = os.environ.copy()
        os.environ.update(environment)
        get_context("spawn").Process(target=process, args=(group, given, theirs), daemon=True).start()
        os.environ.update(before)
        theirs.close()  # so that a process that has failed ends this one
        try:
            names, threads = wire.recv()
        except EOFError:
            raise SystemExit(1) from None  # the process has said why
        where |= dict.fromkeys(names, wire)
    times: dict[str, list[float]] = {name: [] for name in where}
    for _ in range(repeats):
        for name, wire in where.items():
            wire.send(name)
            times[name] += wire.recv()
    for wire in set(where.values()):
        wire.send("")
    return {name: statistics.median(taken) for name, taken in times.items()}, threads


def print_report(config: TrainConfig, batch: int, device: torch.device, median: dict[str, float], threads: int) -> None:
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"{where}, {threads} threads, torch {torch.__version__}")
    print(
        f"{config.method} on {config.backbone}, smooth conv {config.smooth_conv}, {config.image_size} px, batch {batch}"
    )
    print(f"  {'':32} {'':12}   beside {GRAD_CAM} / {TORCH_CAM}")
    for name, taken in median.items():
        ratios = " / ".join(f"× {median[peer] / taken:5.2f}" for peer in (GRAD_CAM, TORCH_CAM))
        print(f"  {name:32} {1000 * taken:9.1f} ms   {ratios}")
    best = GRAPH if GRAPH in median else OURS
    goals = [(GRAD_CAM, best, TARGET)]
    goals += [(TORCH_CAM, GRAPH, TARGET_TORCH_CAM), (EAGER, GRAPH_ANSWER, TARGET_ANSWER)] if GRAPH in median else []
    for peer, ours, target in goals:
        ratio = median[peer] / median[ours]
        print(f"  {ours}: × {ratio:.2f} beside {peer}, target {target:g}: {'met' if ratio >= target else 'missed'}")


if __name__ == "__main__":
    main()
