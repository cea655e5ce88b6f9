"""OnnxModel: an exported ONNX file as a model that answers and explains, by ONNX Runtime, without torch's networks."""

import hashlib
import json
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from onnx import ModelProto
from onnx.utils import Extractor

from pmsi.base.errors import ExportError, lookup

ABOUT = "pmsi"
"""Key of a file's metadata: classes, heads, sizes and more, as JSON."""

PHOTO_PREFIX = "photo."
"""Begins the names of the nodes that make the network's input of a photo."""

PREDICTED = -1
"""The ``label`` that stands for the class that the head predicts."""

STAGES = ("S3", "S4", "S5")
"""The stages with a map."""

ENTRIES = {
    "answer": (("image",), ("logits",)),
    "explain": (("image", "head", "label"), ("logits", "explained", *STAGES)),
    "photo": (("photo", "head", "label"), ("logits", "explained", *STAGES)),
}
"""Inputs and outputs of the parts of a file's graph that have a session of their own."""


class Answer(NamedTuple):
    """Logits (classes,) by head, the class explained, and its map (h_n, w_n) by stage, at least 0, not normalised."""

    logits: dict[str, np.ndarray]
    explained: int
    maps: dict[str, np.ndarray]


def answer_part(model: ModelProto) -> ModelProto:
    """Return the part of a graph that makes answers of a network's input."""
    return Extractor(model).extract_model(["image"], ["logits", "probabilities"])


def weights_digest(model: ModelProto) -> str:
    """Return 32 hexadecimal digits: BLAKE2b of a graph's weights, by which a file that was changed is known."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in model.graph.initializer:
        digest.update(tensor.raw_data)
    return digest.hexdigest()


class OnnxModel:
    """A model in an ONNX file that `pmsi.graph.onnx_file` wrote.

    Sessions are made when they are first needed, and shared by threads: one for answers alone, which leaves out the
    maps' half of the graph, one for answers with maps, one that takes whole photos. ``threads`` are those of one call,
    by default all cores.

    Raises ExportError if the file is damaged or was not written by this program.
    """

    def __init__(self, data: bytes, name: str = "The file", threads: int = 0) -> None:
        self.name, self.threads, self.digest, self.size = name, threads, hashlib.blake2b(data).digest(), len(data)
        self._lock = threading.Lock()
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        try:
            self._model = onnx.load_model_from_string(data)
            stored = {entry.key: entry.value for entry in self._model.metadata_props}
            self.about: dict[str, Any] = json.loads(stored.get(ABOUT, "null"))
            if not isinstance(self.about, dict):
                raise ValueError("it says nothing of classes and heads")
            if self.about.get("digest", digest := weights_digest(self._model)) != digest:
                raise ValueError("its weights are not those that were written")
            self.classes = tuple(map(str, self.about["classes"]))
            self.heads, self.primary = tuple(map(str, self.about["heads"])), str(self.about["primary"])
            self.has_maps = bool(self.about.get("maps", True))
            self.image_size, self.resize_to = int(self.about["image_size"]), int(self.about["resize"])
        except (DecodeError, KeyError, TypeError, ValueError) as error:
            raise ExportError(f"{name} is damaged, or no ONNX file that `pmsi export` wrote: {error}.") from error

    @classmethod
    def load(cls, path: Path, threads: int = 0) -> "OnnxModel":
        """Return the model of a file."""
        try:
            return cls(path.read_bytes(), str(path), threads)
        except OSError as error:
            raise ExportError(f"{path} cannot be read: {error.strerror}.") from error

    def answer(self, images: np.ndarray) -> np.ndarray:
        """Return logits (b, heads, classes) float32 of images (b, 3, image_size, image_size) uint8 RGB."""
        session = self._session("answer")
        return np.stack([session.run(["logits"], {"image": image[None]})[0] for image in images])

    def explain(self, image: np.ndarray, head: str, label: int | None = None) -> "Answer":
        """Return the answer to one image (3, image_size, image_size) uint8, with the Grad-CAM maps of S3, S4 and S5
        for a class of a head, by default the one that the head predicts."""
        return self._explained("explain", {"image": image[None]}, head, label)

    def explain_photo(self, photo: np.ndarray, head: str, label: int | None = None) -> "Answer":
        """Return the same for an upright photo (height, width, 3 or 4) uint8 of any size, which the file resizes."""
        return self._explained("photo", {"photo": photo[None]}, head, label)

    def _explained(self, entry: str, image: dict[str, np.ndarray], head: str, label: int | None) -> "Answer":
        lookup("output", dict.fromkeys(self.heads), head)
        if not self.has_maps:
            raise ExportError(f"{self.name} has answers alone: export it without --int8 for maps.")
        number = np.array(self.heads.index(head), np.int64)
        wanted = np.array(PREDICTED if label is None else label, np.int64)
        outputs = ["logits", "explained", *STAGES]
        logits, explained, *maps = self._session(entry).run(outputs, image | {"head": number, "label": wanted})
        return Answer(dict(zip(self.heads, logits, strict=True)), int(explained), dict(zip(STAGES, maps, strict=True)))

    def open(self, *entries: str) -> None:
        """Make sessions of ENTRIES before they are needed."""
        for entry in entries:
            self._session(entry)

    def _session(self, entry: str) -> onnxruntime.InferenceSession:
        with self._lock:
            if entry not in self._sessions:
                self._sessions[entry] = self._open(*ENTRIES[entry])
            return self._sessions[entry]

    def _open(self, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.add_session_config_entry("session.force_spinning_stop", "1")  # with the call: others need the cores
        options.log_severity_level = 3  # errors
        try:
            part = Extractor(self._model).extract_model([*inputs], [*outputs])
            return onnxruntime.InferenceSession(part.SerializeToString(), options, ["CPUExecutionProvider"])
        except Exception as error:  # neither package names its errors
            raise ExportError(f"{self.name} is damaged: {error}.") from error
