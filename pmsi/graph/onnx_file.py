"""A trained model as one ONNX file: a photo in; every head's answer and three maps out.

Checked against the model itself before it is written (`check`). Needs onnx, onnxscript and onnxruntime.
"""

import json
import logging
import warnings
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor
from torch.fx import GraphModule

from pmsi.base import steps
from pmsi.base.errors import ExportError
from pmsi.data.plumage import plumage
from pmsi.data.preprocessing import normalize, to_tensor
from pmsi.explain.cam import DEFAULT_STAGES, cam
from pmsi.graph import TRACING, kept
from pmsi.graph.onnx_model import ABOUT, PHOTO_PREFIX, OnnxModel, weights_digest
from pmsi.graph.recording import INPUTS, OUTPUTS, record
from pmsi.model import Recognizer

OPSET = 20

CHECKED = 8
"""Images on which a file is compared with its model."""

TOLERANCES = {"logits": 1e-3, "maps": 1e-2}
"""Shares of what a tensor varies by between images by which a file may differ from its model in float32, on average
(root of the mean square): above rounding, which can move a peak among near ties, below any wrong operator."""

ROUNDING = 1e-2
"""Share of the values' own size that counts as variation in any case: a network that says the same of all images varies
by rounding alone."""

HALF_TOLERANCES = {"logits": 3e-2, "maps": 0.3}
"""The same with weights in float16, 11 bits of precision. Their graph is the one that was checked; on drawings, maps of
networks for photos differed by up to 0.17, and 0.3 still is a correlation of 0.95."""

LEAST = 1024
"""Numbers of weights in a tensor below which it stays float32: it takes no room, and may be a scale or a bias."""


def onnx_bytes(model: Recognizer, about: Mapping[str, Any], half: bool = False) -> bytes:
    """Return the ONNX file of a model in eval mode on the CPU.

    ``about`` describes it: ``classes``, ``heads``, ``primary``, ``resize``, ``image_size`` and more.
    With ``half``, weights are stored as float16 and widened when the file is opened; it computes in float32.

    Raises ExportError, with the reason, if the model has an operator without an ONNX form, or if the file's answers or
    maps are not the model's.
    """
    made = onnx.load_model_from_string(graph_bytes(model, (int(about["resize"]), int(about["image_size"]))))
    if half:
        made = _with_half_weights(made)
    describe(made, about)
    data = made.SerializeToString()
    if half:
        steps.begin(70, "Comparing it in half precision")
        check(data, model, HALF_TOLERANCES)
    return data


def graph_bytes(model: Recognizer, sizes: tuple[int, int]) -> bytes:
    """Return the checked ONNX file of a model, whose classes have no names yet; it is kept in the cache.

    ``sizes`` are the sides of the resized image and of its crop. Raises ExportError as `onnx_bytes` does.
    """
    key = kept.key_of(model, sizes)
    if (found := kept.find(key)) is not None:
        return found
    try:
        steps.begin(5, "Recording the network and its maps")
        recorded = record(model, sizes[1])
        steps.begin(20, "Converting them to ONNX")
        made = from_photo(converted(recorded, sizes[1]), *sizes)
        about = {"heads": model.heads, "primary": model.primary, "resize": sizes[0], "image_size": sizes[1]}
        describe(made, about | {"classes": [*range(_classes(made))]})
        data = made.SerializeToString()
        steps.begin(60, "Comparing it with the network")
        check(data, model, TOLERANCES)
    except ExportError as error:
        kept.refuse(key, str(error))
        raise
    kept.keep(key, data)
    return data


def _classes(made: ModelProto) -> int:
    return made.graph.output[0].type.tensor_type.shape.dim[1].dim_value


def converted(graph: GraphModule, side: int) -> ModelProto:
    """Return a recorded graph in ONNX's operators."""
    inputs = (torch.zeros(1, 3, side, side, dtype=torch.uint8), torch.tensor(0), torch.tensor(0))
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with TRACING, warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                torch.export.export(graph, inputs),
                dynamo=True,
                input_names=list(INPUTS),
                output_names=list(OUTPUTS),
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # torch names no class of errors for what it cannot convert
        raise ExportError(f"This model cannot be converted to ONNX: {_reason(error)}") from error
    finally:
        logger.setLevel(before)
    assert program is not None
    return program.model_proto


def _reason(error: BaseException) -> str:
    """Return the first line of what lies at the bottom of an error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def from_photo(model: ModelProto, resize: int, side: int) -> ModelProto:
    """Return the model with a photo as its input: resized as Pillow does, within one level, and cropped in the middle.

    ``photo`` is (1, height, width, 3 or 4) uint8 RGB or RGBA; a fourth channel is ignored. A new output ``seen`` is
    what the network sees, (1, side, side, 3) uint8.
    """
    corner = (resize - side) // 2
    constants = {
        "sizes": [1, resize, resize, 3],
        "first": [0],
        "rgb": [3],
        "channels": [3],
        "begin": [corner, corner],
        "end": [corner + side, corner + side],
        "sides": [1, 2],
    }
    named = {name: PHOTO_PREFIX + name for name in constants}
    graph = model.graph
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.int64), named[name]) for name, value in constants.items()
    )
    image = graph.input[0].name
    in_front = [
        _node("Slice", ["photo", named["first"], named["rgb"], named["channels"]], PHOTO_PREFIX + "pixels"),
        _node(
            "Resize",
            [PHOTO_PREFIX + "pixels", "", "", named["sizes"]],
            PHOTO_PREFIX + "resized",
            mode="linear",
            antialias=1,
            exclude_outside=1,  # else borders differ from Pillow's by up to ten levels
            coordinate_transformation_mode="half_pixel",
        ),
        _node("Slice", [PHOTO_PREFIX + "resized", named["begin"], named["end"], named["sides"]], "seen"),
        _node("Transpose", ["seen"], image, perm=[0, 3, 1, 2]),
    ]
    _put_in_front(model, in_front)
    photo = helper.make_tensor_value_info("photo", TensorProto.UINT8, [1, "height", "width", "channels"])
    others = list(graph.input)[1:]
    del graph.input[:]
    graph.input.extend([photo, *others])
    del graph.value_info[:]
    graph.value_info.append(helper.make_tensor_value_info(image, TensorProto.UINT8, [1, 3, side, side]))
    graph.output.append(helper.make_tensor_value_info("seen", TensorProto.UINT8, [1, side, side, 3]))
    onnx.checker.check_model(model)
    return model


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, inputs, [output], name=PHOTO_PREFIX + output.removeprefix(PHOTO_PREFIX), **attributes)


def _put_in_front(model: ModelProto, nodes: list[NodeProto]) -> None:
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])


def _with_half_weights(model: ModelProto) -> ModelProto:
    """Return a copy whose larger weights are float16 behind a Cast, which runtimes carry out once, on opening it."""
    copied = ModelProto()
    copied.CopyFrom(model)
    graph = copied.graph
    casts, kept = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < LEAST:
            kept.append(tensor)
            continue
        stored = tensor.name + ".float16"
        kept.append(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [tensor.name], name=stored, to=TensorProto.FLOAT))
    del graph.initializer[:]
    graph.initializer.extend(kept)
    _put_in_front(copied, casts)
    onnx.checker.check_model(copied)
    return copied


def describe(model: ModelProto, about: Mapping[str, Any]) -> None:
    about = {**about, "digest": weights_digest(model)}
    helper.set_model_props(model, {ABOUT: json.dumps(about, ensure_ascii=False)})
    model.producer_name = "pmsi"
    model.doc_string = (
        "photo (1, height, width, 3 or 4) uint8 RGB(A), upright; head: the number of a head; label: a class's number, "
        "or -1 for the predicted one. logits, probabilities (heads, classes); explained: the class of the maps S3, S4, "
        f"S5, at least 0; seen: the pixels that the network saw. Names and sizes: the metadata {ABOUT!r}."
    )


def check(data: bytes, model: Recognizer, tolerances: Mapping[str, float]) -> None:
    """Raise ExportError unless a file answers and explains like its model on CHECKED drawings of birds.

    Every head is explained; half of the images for the class that it predicts, half for another one. The predicted
    class may differ only where the model itself is undecided within the tolerance.
    """
    found = OnnxModel(data)
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    for number, images in enumerate(_drawings(found.image_size)):
        head = model.heads[number % len(model.heads)]
        label = None if number % 2 else number % len(found.classes)
        expected = cam(model, normalize(images), head=head, classes=None if label is None else torch.tensor([label]))
        answer = found.explain(images[0].numpy(), head, label)
        for name, values in expected.logits.items():
            pairs[f"logits of {name}"].append((answer.logits[name], values[0].numpy()))
            _compare_best(name, *pairs[f"logits of {name}"][-1], tolerances["logits"])
        if answer.explained == int(expected.classes[0]):
            for stage in DEFAULT_STAGES:
                pairs[f"maps of {stage}"].append((answer.maps[stage], expected.raw[stage][0].numpy()))
    for what, both in pairs.items():
        found_all, expected_all = (np.stack(values) for values in zip(*both, strict=True))
        _compare(what, found_all, expected_all, tolerances[what.split()[0]])


@lru_cache(maxsize=1)
def _drawings(side: int) -> list[Tensor]:
    """Return CHECKED birds, each (1, 3, side, side) uint8."""
    drawn = plumage(train_per_class=1, test_per_class=1, size=max(64, side))
    pictures = [drawn.open_image(sample).resize((side, side)) for sample in drawn.test[:CHECKED]]
    return [to_tensor(np.asarray(picture))[None] for picture in pictures]


def _compare(what: str, found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Raise ExportError if numbers (images, …) are not finite, or differ by more than a share of what they vary by."""
    if not np.isfinite(found).all():
        raise ExportError(f"In the ONNX form, the {what} are not all finite numbers. Export a run of another method.")
    spread = _size(expected - expected.mean(axis=0)) if len(expected) > 1 else 0
    varies, apart = max(spread, ROUNDING * _size(expected)), _size(found - expected)
    if apart > tolerance * varies:
        raise ExportError(
            f"In the ONNX form, the {what} differ by {apart:.2g} on average. Between images they vary by {varies:.2g}, "
            f"and {tolerance} of that is allowed."
        )


def _size(values: np.ndarray) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def _compare_best(name: str, found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    best, ours = int(expected.argmax()), int(found.argmax())
    if expected[best] - expected[ours] > 2 * tolerance * np.abs(expected).max():
        raise ExportError(f"In the ONNX form, {name} predicts class {ours} in place of {best}.")
