"""Speed of Grad-CAM of three stages, compared with torch-cam, pytorch-grad-cam, and the forward pass alone.

The libraries are used as documented, on the original model in torch's default memory format, with parameters that
require gradients: torch-cam once, with three target layers, in one backward pass; pytorch-grad-cam once per layer,
because its result for several layers is their mean. Ours is one call on the folded copy that the reports use, for
comparison on the original model, and on a CPU by the model's graph in ONNX Runtime, as the app and exported files do
it. All return maps of the image's size, scaled to 0–1, and are first checked to be equal. They take turns in one
process; medians and both ratios are printed. Beside them is an answer alone: by torch as the model is (eager), by the
folded copy, and by the graph.

    python -m benchmarks.cam --threads 2
    python -m benchmarks.cam --size 448 --smooth-conv separable --device cuda
"""

import argparse
import copy
import platform
import statistics
from collections.abc import Callable

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
GRAPH, EAGER, GRAPH_ANSWER = "ours, by its graph", "an answer alone, eager", "an answer alone, by its graph"
GRAD_CAM, TORCH_CAM = "pytorch-grad-cam, three calls", "torch-cam, one call"
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


def check_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    for stage in STAGES:
        apart = float(np.abs(ours[stage] - theirs[stage]).max())
        if apart > 0.05:  # near ties of a peak fall either way
            raise SystemExit(f"Both sides should give the same map of {stage}, but they differ by {apart:.3f}.")


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
    parser.add_argument("--repeats", type=int, default=15)
    flags = parser.parse_args()
    if flags.threads:
        torch.set_num_threads(flags.threads)
    config = TrainConfig(
        method=flags.method, smooth_conv=flags.smooth_conv, backbone=flags.backbone, weights=flags.weights,
        image_size=flags.size,
    )  # fmt: skip
    compare(config, flags.batch, flags.repeats, find_device(flags.device))


def compare(config: TrainConfig, batch: int, repeats: int, device: torch.device) -> None:
    """Measure all contestants in turn, and print their times and ratios."""
    model = settled(config, device)
    faster = folded(model)
    shape, generator = (batch, 3, config.image_size, config.image_size), torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    ready = normalize(pixels.to(device))
    images = ready.contiguous()
    graph = None
    if device.type == "cpu":
        graph = graph_of(model, (config.resize_to, config.image_size), LONG)
    classes = list(range(batch))
    grad_cam, torch_cam = PytorchGradCam(model, classes), TorchCam(model, classes, config.image_size)
    labels = torch.tensor(classes, device=device)

    def maps_of(explained: Recognizer) -> dict[str, np.ndarray]:
        return shown(cam(explained, ready, classes=labels, stages=STAGES).raw)

    def by_graph() -> dict[str, np.ndarray]:
        found = [
            graph.explain(each, model.primary, label).maps for each, label in zip(pixels.numpy(), classes, strict=True)
        ]
        return shown({stage: torch.from_numpy(np.stack([maps[stage] for maps in found])) for stage in STAGES})

    def shown(raw: dict[str, Tensor]) -> dict[str, np.ndarray]:
        lows = {stage: values.amin((1, 2), True) for stage, values in raw.items()}
        units = {s: (values - lows[s]) / (values.amax((1, 2), True) - lows[s]) for s, values in raw.items()}
        return {stage: resize(values, config.image_size).cpu().numpy() for stage, values in units.items()}

    def answer(network: Recognizer) -> None:
        with torch.inference_mode():
            network(ready)

    for peer in (grad_cam, torch_cam):
        check_same(maps_of(faster), peer.maps(images))
    if graph is not None:
        check_same(maps_of(faster), by_graph())
    contestants: dict[str, Callable[[], object]] = {
        GRAD_CAM: lambda: grad_cam.maps(images),
        TORCH_CAM: lambda: torch_cam.maps(images),
        "ours, not folded": lambda: maps_of(model),
        "ours": lambda: maps_of(faster),
        EAGER: lambda: answer(model),
        "an answer alone, folded": lambda: answer(faster),
    }
    if graph is not None:
        contestants |= {GRAPH: by_graph, GRAPH_ANSWER: lambda: graph.answer(pixels.numpy())}
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for repeat in range(repeats + 2):
        for name, work in contestants.items():
            taken = seconds(work, device)
            if repeat >= 2:
                times[name].append(taken)
    report(config, batch, device, {name: statistics.median(taken) for name, taken in times.items()})


def report(config: TrainConfig, batch: int, device: torch.device, median: dict[str, float]) -> None:
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"{where}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(
        f"{config.method} on {config.backbone}, smooth conv {config.smooth_conv}, {config.image_size} px, batch {batch}"
    )
    print(f"  {'':32} {'':12}   beside {GRAD_CAM} / {TORCH_CAM}")
    for name, taken in median.items():
        ratios = " / ".join(f"× {median[peer] / taken:5.2f}" for peer in (GRAD_CAM, TORCH_CAM))
        print(f"  {name:32} {1000 * taken:9.1f} ms   {ratios}")
    best = GRAPH if GRAPH in median else "ours"
    goals = [(GRAD_CAM, best, TARGET)]
    goals += [(TORCH_CAM, GRAPH, TARGET_TORCH_CAM), (EAGER, GRAPH_ANSWER, TARGET_ANSWER)] if GRAPH in median else []
    for peer, ours, target in goals:
        ratio = median[peer] / median[ours]
        print(f"  {ours}: × {ratio:.2f} beside {peer}, target {target:g}: {'met' if ratio >= target else 'missed'}")


if __name__ == "__main__":
    main()
