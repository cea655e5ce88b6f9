"""EXPORTS: a trained model as one file to take along; the file's ending says what is in it.

Weights are for this program, here or on another machine. A program of torch.export is for any other: it needs torch
alone, neither this package nor its config, and is what ExecuTorch and others that run on a phone start from. Neither
holds what only training needs.
"""

import io
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pmsi.base.errors import lookup
from pmsi.base.files import write_atomically
from pmsi.config import WEIGHT_WORDS, TrainConfig, from_dict
from pmsi.data.preprocessing import MEAN, STD
from pmsi.engine.checkpoint import checkpoint_bytes, find_checkpoint, load_checkpoint, load_model
from pmsi.model import Recognizer
from pmsi.model.batch import Images
from pmsi.model.recognizer import Outputs
from pmsi.runs import Run

ABOUT = "about.json"
"""What `program` puts beside the program: classes, heads, sizes."""

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Export:
    """A row of EXPORTS: ``make(run, half)`` returns the file's bytes."""

    title: str
    help: str
    make: Callable[[Run, bool], bytes]


def weights(run: Run, half: bool = False) -> bytes:
    """Return the run's last checkpoint without the state of its optimizer, in half precision where asked.

    Half precision halves the file and rounds each number to 11 binary digits; loading widens them again.
    """
    checkpoint = load_checkpoint(find_checkpoint(run))
    model = {name: _halved(value) if half else value for name, value in checkpoint.model.items()}
    config = from_dict(checkpoint.about["config"])
    assert isinstance(config, TrainConfig)
    about = {key: checkpoint.about[key] for key in ("epoch", "step", "classes")} | {
        "config": portable(config).to_dict()
    }
    return checkpoint_bytes(model, {"state": {}, "param_groups": []}, about)


def portable(config: TrainConfig) -> TrainConfig:
    """Return the config with the names of its weights file and its data folder instead of their paths."""
    weights = config.weights if config.weights in WEIGHT_WORDS else Path(config.weights).name
    return replace(config, weights=weights, data=config.data and Path(config.data).name)


def _halved(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value


def program(run: Run, half: bool = False) -> bytes:
    """Return a program of torch.export: images (b, 3, side, side) uint8 RGB → logits (b, classes) by head.

    Images are resized and cropped before; normalisation is inside. ``torch.export.load(file, extra_files={"about.json":
    ""})`` gives it back, with its classes. With ``half`` the weights are rounded; the program computes in float32.
    """
    model, config, classes = load_model(run, CPU)
    if half:
        with torch.no_grad():
            for value in model.state_dict().values():
                value.copy_(_halved(value))
    side = config.image_size
    example = torch.zeros(2, 3, side, side, dtype=torch.uint8)
    batch = {"images": {0: torch.export.Dim("b", min=1)}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that views share memory, which a copy on a CPU may
        exported = torch.export.export(FromPixels(model).eval(), (example,), dynamic_shapes=batch)
        return _saved(exported, json.dumps(_about(run, model, config, classes)))


def _about(run: Run, model: Recognizer, config: TrainConfig, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "run": run.id,
        "input": f"(b, 3, {config.image_size}, {config.image_size}) uint8 RGB: resized to {config.resize_to} × "
        f"{config.resize_to} pixels, bilinear, and cropped in the middle",
        "resize": config.resize_to,
        "image_size": config.image_size,
        "heads": list(model.heads),
        "primary": model.primary,
        "classes": list(classes),
    }


def _saved(exported: Any, about: str) -> bytes:
    file = io.BytesIO()
    torch.export.save(exported, file, extra_files={ABOUT: about})
    return file.getvalue()


class FromPixels(nn.Module):
    """A recogniser that takes uint8 images, with ImageNet's statistics as buffers of its own."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: Recognizer) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(STD).view(3, 1, 1))

    def forward(self, images: Images) -> Outputs:
        outputs: Outputs = self.model((images.float() - self.mean) / self.std)
        return outputs


EXPORTS: dict[str, Export] = {
    ".safetensors": Export("Weights", "The model alone, for this program: a smaller checkpoint.", weights),
    ".pt2": Export("torch program", "Pixels to logits; needs torch and nothing else.", program),
}


def export(run: Run, path: Path, half: bool = False) -> None:
    """Write a trained model to ``path``, whole or not at all; UnknownName lists the endings that there are."""
    row = lookup("ending of an exported model", EXPORTS, path.suffix.lower())
    write_atomically(path, row.make(run, half))
