"""EXPORTS: the formats in which a trained model is written as one file, by the file's ending.

Weights are for this package, here or on another machine. A torch.export program needs torch only, neither this package
nor a config; runtimes for phones such as ExecuTorch start from it. An ONNX file needs any runtime for ONNX, takes whole
photos, and makes maps too. None has the state of the optimizer.
"""

import io
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pmsi import __version__
from pmsi.base.errors import ConfigError, ExportError, lookup
from pmsi.base.files import write_atomically
from pmsi.config import WEIGHT_WORDS, TrainConfig, from_dict
from pmsi.data.preprocessing import MEAN, STD
from pmsi.engine.checkpoint import checkpoint_bytes, find_checkpoint, load_checkpoint, load_model
from pmsi.engine.pixels import FromPixels
from pmsi.graph import TRACING
from pmsi.methods import METHODS
from pmsi.model import Recognizer
from pmsi.runs import Run
from pmsi.runs.record import data_of, record_of
from pmsi.uncertainty.temperature import calibration_for

ABOUT = "about.json"
"""The extra file in a program, with its classes, heads and sizes."""

CPU = torch.device("cpu")

PRECISIONS = {
    "float32": "full precision",
    "float16": "weights in half precision, half the size",
    "int8": "answers alone, in 8-bit integers: a quarter of the size",
}
"""How weights are stored."""


@dataclass(frozen=True)
class Export:
    """A row of EXPORTS: ``make(run, precision)`` returns the file's bytes; ``precisions`` are keys of PRECISIONS.

    The first is the default.
    """

    title: str
    help: str
    make: Callable[[Run, str], bytes]
    precisions: tuple[str, ...] = ("float32", "float16")


def weights(run: Run, precision: str = "float32") -> bytes:
    """Return the run's last checkpoint as bytes, without the optimizer's state.

    In "float16", parameters have 11 bits of precision; loading converts them to float32.
    """
    checkpoint = load_checkpoint(find_checkpoint(run))
    model = {name: _halved(value) if precision == "float16" else value for name, value in checkpoint.model.items()}
    config = from_dict(checkpoint.about["config"])
    assert isinstance(config, TrainConfig)
    about = {key: checkpoint.about[key] for key in ("epoch", "step", "classes")}
    about["config"] = portable(config).to_dict()
    return checkpoint_bytes(model, {"state": {}, "param_groups": []}, about, record_of(run))


def portable(config: TrainConfig) -> TrainConfig:
    """Return the config with only the names of its weights file and data folder, without their paths."""
    weights = config.weights if config.weights in WEIGHT_WORDS else Path(config.weights).name
    return replace(config, weights=weights, data=config.data and Path(config.data).name)


def _halved(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value


def program(run: Run, precision: str = "float32") -> bytes:
    """Return a torch.export program as bytes: images (b, 3, side, side) uint8 RGB → logits (b, classes) by head.

    Images must be resized and cropped; the program normalises them. Load it, with its classes, by
    ``torch.export.load(file, extra_files={"about.json": ""})``. In "float16", weights are rounded; the program computes
    in float32. Weights lie contiguously, as other runtimes expect them.
    """
    model, config, classes = load_model(run, CPU)
    about = json.dumps(_about(run, model, config, classes))
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()
    if precision == "float16":
        with torch.no_grad():
            for value in model.state_dict().values():
                value.copy_(_halved(value))
    side = config.image_size
    example = torch.zeros(2, 3, side, side, dtype=torch.uint8)
    batch = {"images": {0: torch.export.Dim("b", min=1)}}
    with TRACING, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about views that share memory
        exported = torch.export.export(FromPixels(model).eval(), (example,), dynamic_shapes=batch)
        file = io.BytesIO()
        torch.export.save(exported, file, extra_files={ABOUT: about})
    return file.getvalue()


def onnx(run: Run, precision: str = "float32") -> bytes:
    """Return an ONNX file's bytes: a photo → every head's answer, and the maps of S3, S4 and S5.

    See `pmsi.graph.onnx_file`. In "int8" it answers only. Raises ExportError if the model has no ONNX form, or if
    packages are missing.
    """
    try:
        from pmsi.graph import onnx_file  # optional packages, which training does without
    except ImportError as error:
        raise ExportError(f"An ONNX file needs the package {error.name}: pip install 'pmsi[export]'.") from error
    model, config, classes = load_model(run, CPU)
    about = _about(run, model, config, classes) | {"precision": precision}
    if precision == "int8":
        from pmsi.export import quantized  # takes a second

        return quantized.onnx_bytes(run, model, config, about)
    return onnx_file.onnx_bytes(model, about, half=precision == "float16")


def page(run: Run, precision: str = "float16") -> bytes:
    """Return one HTML file that answers and explains photos offline; see `pmsi.export.page`."""
    model = onnx(run, precision)
    from pmsi.export.page import page  # after `onnx`, which says which packages are missing

    return page(run, model)


def site(run: Run, precision: str = "float16") -> bytes:
    """Return a zip of the same page as a site that a phone can install."""
    model = onnx(run, precision)
    from pmsi.export.page import site  # as above

    return site(run, model)


def _about(run: Run, model: Recognizer, config: TrainConfig, classes: tuple[str, ...]) -> dict[str, Any]:
    """Return what a file says of its model. Accuracies, 0–1, are those at the end of training, by head."""
    result = run.result() or {}
    return {
        "run": run.id,
        "method": METHODS[config.method].title,
        "input": f"(b, 3, {config.image_size}, {config.image_size}) uint8 RGB: resized to {config.resize_to} × "
        f"{config.resize_to} pixels, bilinear, and cropped in the middle",
        "resize": config.resize_to,
        "image_size": config.image_size,
        "mean": MEAN,
        "std": STD,
        "heads": list(model.heads),
        "primary": model.primary,
        "classes": list(classes),
        "calibration": None if (found := calibration_for(run, model)) is None else asdict(found),
        "accuracy": result.get("last", {}).get("accuracy"),
        "test_images": data_of(run).test,
        "config": portable(config).to_dict(),
        "version": __version__,
    }


EXPORTS: dict[str, Export] = {
    ".safetensors": Export("Weights", "The model alone, for this program: a smaller checkpoint.", weights),
    ".pt2": Export("torch program", "Pixels to logits; needs torch and nothing else.", program),
    ".onnx": Export(
        "ONNX", "A photo to answers and maps, for phones, browsers and other programs.", onnx, tuple(PRECISIONS)
    ),
    ".html": Export(
        "Phone page", "One page for phones and desktops, which needs no network.", page, ("float16", "float32")
    ),
    ".zip": Export("Phone site", "The page as a site that a phone can install.", site, ("float16", "float32")),
}


def export(run: Run, path: Path, precision: str | None = None) -> None:
    """Write a trained model to ``path`` atomically, by default in the first precision of its format.

    Raises UnknownName, with the known endings, for another ending, and ConfigError for a precision that it has not.
    """
    row = lookup("ending of an exported model", EXPORTS, path.suffix.lower())
    precision = precision or row.precisions[0]
    if precision not in row.precisions:
        raise ConfigError(f"{path.suffix} has no precision {precision}: choose {' or '.join(row.precisions)}.")
    write_atomically(path, row.make(run, precision))
