"""A trained model as a web page that needs no network: one HTML file, or a zip of an installable site.

The page carries an ONNX file and ONNX Runtime Web (``assets/phone``). A photo is answered and explained on the device.
"""

import base64
import gzip
import hashlib
import html
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
from PIL import Image, ImageDraw

from pmsi.base import steps
from pmsi.base.assets import ASSETS
from pmsi.base.errors import PMSIError
from pmsi.base.files import LARGE, read_json
from pmsi.base.text import percent
from pmsi.config import TrainConfig
from pmsi.data import DATASETS, open_dataset
from pmsi.graph.onnx_model import OnnxModel
from pmsi.pictures.overlays import table
from pmsi.runs import Run
from pmsi.runs.calibration import parsed
from pmsi.runs.labels import labels_of
from pmsi.runs.record import as_trained
from pmsi.uncertainty.scores import SAID_BY

FOLDER = ASSETS / "phone"
ICON = ASSETS / "style" / "icon.svg"

MOST_PIXELS = 16_000_000
"""Pixels above which the page reduces a photo itself: a phone's memory is small."""

UNSURE = 0.05
"""Share of its own test images that a model answers with less than the probability below which the page doubts."""

THUMBNAIL_BYTES, MOST_THUMBNAILS = 4_000, 400_000
"""Most bytes of a class's thumbnail, and of all of them."""

POLICY = (
    "default-src 'none'; script-src {scripts} 'wasm-unsafe-eval' blob:; style-src {styles}; img-src data: blob:; "
    "media-src blob: mediastream:; worker-src 'self' blob:; manifest-src 'self'; connect-src 'none'; base-uri 'none'; "
    "form-action 'none'"
)
"""The page's Content-Security-Policy: its own scripts run, and nothing is fetched or sent."""


def page(run: Run, model: bytes, worker: str | None = None) -> bytes:
    """Return the page of a run's ONNX file; ``worker`` is the name of a script beside the page that keeps it."""
    steps.begin(75, "Making the page")
    about = OnnxModel(model).about
    text = {
        name: (FOLDER / name).read_text(encoding="utf-8") for name in ("page.html", "style.css", "early.js", "page.js")
    }
    scripts = [text["early.js"], text["page.js"]]
    title, halves = _title(run, about), half_segments(model)
    calibration = parsed(about.get("calibration"))
    shown = {
        **{key: about[key] for key in ("run", "classes", "heads", "primary", "image_size")},
        "title": title,
        "says": _says(about),
        "colours": table().round().astype(int).ravel().tolist(),
        "most_pixels": MOST_PIXELS,
        "unsure_below": unsure_below(run, str(about["primary"])),
        "temperatures": calibration.temperatures if calibration else {},
        "threshold": calibration.thresholds.get(SAID_BY, {}).get(about["primary"]) if calibration else None,
        "thumbnails": _thumbnails(run, len(about["classes"])),
        "worker": worker,
        "halves": halves,
    }
    parts = {
        "policy": POLICY.format(scripts=" ".join(map(_hash, scripts)), styles=_hash(text["style.css"])),
        "title": html.escape(title),
        "links": LINKS if worker else '<link rel="icon" href="data:,">',
        "style": text["style.css"],
        "notice": html.escape((FOLDER / "NOTICE.txt").read_text(encoding="utf-8")),
        "early": scripts[0],
        "script": scripts[1],
        "about": json.dumps(shown, ensure_ascii=False).replace("<", "\\u003c"),
        "ort": _text((FOLDER / "ort.mjs.gz").read_bytes()),
        "wasm": _text((FOLDER / "ort.wasm.gz").read_bytes()),
        "model": _text(gzip.compress(split_halves(model, halves), 9, mtime=0)),
    }
    return _filled(text["page.html"], parts).encode()


LINKS = """<link rel="manifest" href="manifest.webmanifest">
<link rel="icon" href="icon.svg">
<link rel="apple-touch-icon" href="icon-192.png">"""


def site(run: Run, model: bytes) -> bytes:
    """Return a zip of the page as a site that can be installed: a manifest, icons, and a script that keeps it."""
    name = _title(run, OnnxModel(model).about)
    index = page(run, model, "worker.js")
    files = {f"icon-{side}.png": _icon(side) for side in (192, 512)} | {"icon.svg": ICON.read_bytes()}
    icons = [{"src": "icon.svg", "sizes": "any", "type": "image/svg+xml"}] + [
        {"src": f"icon-{side}.png", "sizes": f"{side}x{side}", "type": "image/png"} for side in (192, 512)
    ]
    manifest = {"name": name, "short_name": name[:12], "start_url": "./", "display": "standalone", "icons": icons}
    files["manifest.webmanifest"] = json.dumps(
        manifest | {"background_color": "#ffffff", "theme_color": "#1f6b52"}
    ).encode()
    scope = hashlib.sha256(run.id.encode()).hexdigest()[:8]
    version = f"pmsi-{scope}-{hashlib.sha256(index).hexdigest()[:12]}"
    kept = {"scope": scope, "version": version, "files": json.dumps(["./", *files])}
    script = _filled((FOLDER / "worker.js").read_text(encoding="utf-8"), kept)
    files |= {"index.html": index, "worker.js": script.encode()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _filled(template: str, parts: Mapping[str, str]) -> str:
    """Return a template with each {{name}} replaced, once: what is put in may hold such words itself."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def unsure_below(run: Run, head: str) -> float | None:
    """Return the probability that a run's head gave its answer at least in 95 % of its test images; None if unknown."""
    stored = read_json(run.folder / "predictions.json", LARGE) or {}
    sure = stored.get("confidence", {}).get(head)
    return float(np.quantile(sure, UNSURE)) if sure else None


def _title(run: Run, about: dict[str, Any]) -> str:
    return labels_of(run).name or DATASETS[str(about["config"]["dataset"])].title


def _says(about: dict[str, Any]) -> str:
    accuracy, images = (about["accuracy"] or {}).get(about["primary"]), about["test_images"]
    tested = f", right on {percent(accuracy)} of {images:,} test images" if accuracy is not None and images else ""
    return (
        f"{len(about['classes'])} classes. {about['method']}, {about['image_size']} px{tested} (output "
        f"{about['primary']}). "
        f"Run {about['run']}."
    )


def _thumbnails(run: Run, classes: int) -> list[str | None]:
    """Return a picture of each class as base64, from the run's training images; none where these are not here."""
    most, found = min(THUMBNAIL_BYTES, MOST_THUMBNAILS // classes), [None] * classes
    try:
        assert isinstance(run.config, TrainConfig)
        dataset, _ = as_trained(run, open_dataset(run.config))
        first = {sample.label: sample for sample in reversed(dataset.train)}
        return [
            _thumbnail(dataset.open_image(first[label]), most) if label in first else None for label in range(classes)
        ]
    except PMSIError:
        return [*found]


def _thumbnail(image: Image.Image, most: int) -> str | None:
    for side in (112, 80, 56):
        file = io.BytesIO()
        _square(image, side).save(file, "WEBP", quality=60)
        if file.tell() <= most:
            return _base64(file.getvalue())
    return None


def _square(image: Image.Image, side: int) -> Image.Image:
    least = min(image.size)
    left, top = (image.width - least) // 2, (image.height - least) // 2
    return image.crop((left, top, left + least, top + least)).resize((side, side), Image.Resampling.LANCZOS)


def _icon(side: int) -> bytes:
    """Return the lab's icon, which is rounded rectangles alone, as a PNG on white."""
    drawn = ElementTree.fromstring(ICON.read_text(encoding="utf-8"))
    unit = 4 * side / float(drawn.attrib["width"])
    image = Image.new("RGB", (4 * side, 4 * side), "white")
    pen = ImageDraw.Draw(image)
    for shape in drawn:
        x, y, width, height, radius = (unit * float(shape.attrib[key]) for key in ("x", "y", "width", "height", "rx"))
        pen.rounded_rectangle((x, y, x + width, y + height), radius, fill=shape.attrib["fill"])
    file = io.BytesIO()
    image.resize((side, side), Image.Resampling.LANCZOS).save(file, "PNG")
    return file.getvalue()


def half_segments(model: bytes) -> list[tuple[int, int]]:
    """Return where in an ONNX file float16 weights lie, as (first byte, number of bytes), in order."""
    found, at = [], 0
    for tensor in onnx.load_model_from_string(model).graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT16:
            at = model.index(tensor.raw_data, at)
            found.append((at, len(tensor.raw_data)))
            at += len(tensor.raw_data)
    return found


def split_halves(model: bytes, segments: Sequence[tuple[int, int]]) -> bytes:
    """Return the file with the low bytes of all numbers in a segment before the high ones, which pack better so."""
    data = np.frombuffer(model, np.uint8).copy()
    for start, size in segments:
        data[start : start + size] = data[start : start + size].reshape(-1, 2).T.ravel()
    return data.tobytes()


DIGITS = np.frombuffer(
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~", np.uint8
)


def _text(data: bytes) -> str:
    """Return bytes in base 85, a quarter longer, in an alphabet without "<", which could end a script."""
    words = np.frombuffer(data + bytes(-len(data) % 4), ">u4")
    digits = words[:, None] // 85 ** np.arange(4, -1, -1) % 85
    return DIGITS[digits].tobytes()[: digits.size - -len(data) % 4].decode()


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
