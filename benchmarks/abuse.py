"""What hostile input costs at most: made by mutation and by construction, each tried in a child process.

    python -m benchmarks.abuse
    python -m benchmarks.abuse --only pictures archives --count 100 --seed 1

Pictures go through the decoding of uploads, archives through the check of an import, runs' files through the list of
runs and what pages read of them, addresses through a page in a read-only app, weights through the check of a training
run. The child's peak memory counts beyond what it had at first; so do its seconds of CPU. Fails where anything but a
refusal in words comes out, where a child dies, or where a limit is exceeded.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import random
import resource
import select
import shutil
import signal
import struct
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from streamlit.testing.v1 import AppTest

from app.shared import memory
from app.shared.access import READ_ONLY
from app.views.data.import_form import ZIP_LIMITS
from pmsi.base.errors import PMSIError
from pmsi.base.vision import models
from pmsi.data import uploads
from pmsi.data.readers.archive import contents
from pmsi.model.backbones import BACKBONES, check_weights
from pmsi.runs import Run, known_runs
from pmsi.runs.listing import entries
from pmsi.runs.mistakes import has_predictions, read_predictions
from pmsi.runs.record import record_of

MB = 10**6
LIMIT_CPU_S, LIMIT_BYTES = 120, 6 * 10**9
"""Where a child is ended."""
LOOK_S = 0.002
"""How often its memory is looked at."""

Make = Callable[[random.Random, Path], Path]
"""Writes a hostile thing into a folder."""


@dataclass(frozen=True)
class Kind:
    """A kind of input: how many are tried, what makes one, what takes it, and the most that it may cost."""

    count: int
    make: Make
    take: Callable[[Path], object]
    bytes: int
    cpu_s: float


@dataclass
class Found:
    """What became of the inputs of a kind."""

    outcomes: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    memory: tuple[float, str] = (0.0, "")
    cpu_s: tuple[float, str] = (0.0, "")

    def add(self, name: str, outcome: str, used: float, cpu_s: float) -> None:
        self.outcomes[outcome.partition(":")[0]] = self.outcomes.get(outcome.partition(":")[0], 0) + 1
        if outcome.startswith(("fault", "killed")):
            self.faults.append(f"{name}: {outcome}")
        self.memory, self.cpu_s = max(self.memory, (used, name)), max(self.cpu_s, (cpu_s, name))


# Mutation

EXTREMES = [0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1]


def mutated(draw: random.Random, data: bytes) -> bytes:
    """Return bytes after a few flips, cuts, repetitions, or numbers that are as large as they can be."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        if not found:
            break
        at, length = draw.randrange(len(found)), draw.choice((1, 2, 4, 8, 64, 512))
        match draw.randrange(5):
            case 0:
                found[at] ^= 1 << draw.randrange(8)
            case 1:
                width, number = draw.choice(((2, "H"), (4, "I"))), draw.choice(EXTREMES)
                found[at : at + width[0]] = struct.pack(draw.choice("<>") + width[1], number % 256 ** width[0])
            case 2:
                del found[at : at + length]
            case 3:
                found[at:at] = found[at : at + length] * draw.choice((1, 10, 1000))
            case 4:
                del found[at:]
    return bytes(found)


# Pictures

MODES = {
    "JPEG": ("RGB", "L", "CMYK"), "PNG": ("RGB", "RGBA", "L", "P", "1", "I;16", "LA"), "WEBP": ("RGB", "RGBA"),
    "BMP": ("RGB", "L", "P", "1"), "GIF": ("P", "L"), "TIFF": ("RGB", "RGBA", "L", "F", "I", "I;16", "CMYK", "1"),
    "PPM": ("RGB", "L", "1", "I"),
}  # fmt: skip
OPTIONS: dict[str, list[dict[str, object]]] = {
    "JPEG": [{"quality": 30, "progressive": True}, {"quality": 95, "subsampling": 0}, {"progressive": True}, {}],
    "PNG": [{"compress_level": 1}, {"compress_level": 9}],
    "WEBP": [{"lossless": True}, {"quality": 10, "method": 0}, {"quality": 80, "method": 0}],
    "TIFF": [{"compression": name} for name in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "tiff_lzma", "zstd")],
}


LONGEST = 16_383
"""Side of the largest WebP."""


def picture(draw: random.Random, folder: Path) -> Path:
    """Write a picture of any size, mode and format: whole, mutated, or with something that multiplies its cost."""
    name = draw.choice(list(MODES))
    side = int(2 ** draw.uniform(0, 12.8))
    size = (side, max(1, min(60_000_000 // side, int(side * 2 ** draw.uniform(-3, 3)), LONGEST)))
    image = Image.new(draw.choice(MODES[name]), size)
    if draw.random() < 0.5 and image.mode in ("RGB", "L"):
        image = Image.effect_noise((min(size[0], 3000), min(size[1], 3000)), 90).convert(image.mode)
    buffer = io.BytesIO()
    image.save(buffer, name, **draw.choice(OPTIONS.get(name, [{}])), **_turned(draw, name))
    data = buffer.getvalue()
    trick = draw.choice(TRICKS) if draw.random() < 0.4 else None
    data = trick(draw, data) if trick else mutated(draw, data) if draw.random() < 0.7 else data
    path = folder / f"{name}-{image.mode}-{size[0]}x{size[1]}-{trick.__name__ if trick else 'plain'}"
    path.write_bytes(data)
    return path


def _turned(draw: random.Random, name: str) -> dict[str, object]:
    if name not in ("JPEG", "PNG", "WEBP") or draw.random() < 0.7:
        return {}
    exif = Image.Exif()
    exif[0x0112] = draw.randrange(10)
    return {"exif": exif}


def scans(draw: random.Random, data: bytes) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    buffer = io.BytesIO()
    side = draw.choice((64, 1000, 5000))
    Image.new("L", (side, side), 90).save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * draw.choice((30, 300, 3000)) + whole[-2:]


def tags(draw: random.Random, data: bytes) -> bytes:
    """A TIFF by hand, whose tiles, strips, bits or counts are extreme."""
    side = draw.choice((8, 500, 7000))
    numbers = [1, 2, 8, 16, 4096, 7000, 46336, 2**20, 2**31, 2**32 - 1]
    packing = draw.choice((1, 5, 7, 8, 32773, 34925))
    known = [(256, 1, side), (257, 1, side), (258, 1, 8), (259, 1, packing), (262, 1, 1)]
    extra = {draw.choice((258, 273, 277, 278, 279, 322, 323, 324, 325, 338, 34675)) for _ in range(5)}
    known += [(tag, draw.choice((1, 1, 4, 10**6)), draw.choice(numbers)) for tag in sorted(extra)]
    rows = b"".join(struct.pack("<HHII", tag, 4, count, value) for tag, count, value in sorted(known))
    return b"II*\0" + struct.pack("<IH", 8, len(known)) + rows + bytes(draw.choice((4, 4096, 2**20)))


def header(draw: random.Random, data: bytes) -> bytes:
    """A PNG that says any size, depth and kind, with rows of zeros."""
    width, height = (int(2 ** draw.uniform(0, 16)) for _ in range(2))
    about = struct.pack(">IIBBBBB", width, height, draw.choice((1, 8, 16)), draw.choice((0, 2, 3, 4, 6)), 0, 0,
                        draw.randrange(2))  # fmt: skip
    chunks = [(b"IHDR", about), (b"PLTE", bytes(768)), (b"IDAT", zlib.compress(bytes(min(width * height, 60 * MB)), 1))]
    if draw.random() < 0.3:
        chunks.insert(1, (draw.choice((b"zTXt", b"iCCP")), b"a\0\0" + zlib.compress(bytes(70 * MB), 9)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in [*chunks, (b"IEND", b"")]
    )


def canvas(draw: random.Random, data: bytes) -> bytes:
    """A WebP or GIF of a few bytes that says any size."""
    width, height = (draw.choice((1, 1000, 3500, 7000, 16383)) for _ in range(2))
    if draw.random() < 0.5:
        body = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(9)
        return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + body
    frame = struct.pack("<HHHHB", 0, 0, height, width, 0) + b"\x08\x01\0\0"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b"," + frame + b";"


def letters(draw: random.Random, data: bytes) -> bytes:
    """A PPM in text, or with 16 bits."""
    width, height = draw.choice(((100, 100), (1900, 1900), (2500, 2500), (7000, 7000)))
    kind, most = draw.choice((("P2", 255), ("P3", 255), ("P5", 65535), ("P6", 65535), ("P1", 0)))
    start = f"{kind} {width} {height} {most or ''}\n".encode()
    return start + (b"1 " if kind in ("P1", "P2", "P3") else b"\0\1") * min(width * height * 3, 12 * MB)


TRICKS = (scans, tags, header, canvas, letters)


def decode(path: Path) -> None:
    """Do what the process does that decodes an upload; pixels go nowhere."""
    os.dup2(os.open(path, os.O_RDONLY), 0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    if uploads.main("upload", uploads.MEMORY, uploads.CPU_S):
        raise PMSIError("refused")


# Archives


def archive(draw: random.Random, folder: Path) -> Path:
    """Write a zip or tar: with many entries, folders, links or deep paths, with bombs, or mutated."""
    kind = draw.choice(("entries", "folders", "deep", "long", "bomb", "unnamed", "lists"))
    form = draw.choice((*PACKINGS, *TAR_MODES))
    quick = form not in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    many = draw.choice((10, 1000, 20_000, 60_000) if quick else (10, 1000))
    files = {}
    for i in range(many if kind in ("entries", "unnamed", "folders") else 20):
        path = {
            "entries": f"class {i % 50}/{i}.jpg", "unnamed": f"class {i % 50}/{i}", "lists": f"{i}/labels.csv",
            "folders": f"{i}/{i}/{i}/1.jpg", "deep": "a/" * (2 ** draw.randrange(15)) + f"{i}.png",
            "long": "x" * draw.randrange(60_000) + ".jpg", "bomb": f"a/{i}.bmp",
        }[kind]  # fmt: skip
        files[path] = bytes(20 * MB) if kind == "bomb" and i < 5 else b"\xff\xd8\xff" + bytes(9)
    data = zipped(files, form) if isinstance(form, int) else tarred(draw, files, form)
    path = folder / f"{kind}-{many}-{form}"
    path.write_bytes(mutated(draw, data) if draw.random() < 0.4 else data)
    return path


PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
TAR_MODES = ("w", "w:gz", "w:bz2", "w:xz")


def zipped(files: dict[str, bytes], packing: int) -> bytes:
    """Return a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as packed:
        for path, content in files.items():
            packed.writestr(path, content)
    return buffer.getvalue()


def tarred(draw: random.Random, files: dict[str, bytes], mode: str) -> bytes:
    """Return a tar, in which one file of fifty is a link, to another file or out of the archive."""
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode=mode, format=draw.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    ) as packed:
        for path, content in files.items():
            about = tarfile.TarInfo(path)
            if draw.randrange(50) == 0:
                about.type, about.linkname = draw.choice((tarfile.SYMTYPE, tarfile.LNKTYPE)), draw.choice(LINKED)
            else:
                about.size = len(content)
            packed.addfile(about, io.BytesIO(content))
    return buffer.getvalue()


LINKED = ("class 1/1.jpg", "../x.jpg", "/etc/passwd", "a/0.bmp")


# Files of runs

FILES = (
    "config.json", "metrics.jsonl", "result.json", "progress.json", "labels.json", "predictions.json", "error.json",
    "stopped.json", "data.json.gz",
)  # fmt: skip
HOSTILE: tuple[Callable[[random.Random], str], ...] = (
    lambda draw: draw.choice("[{") * 200_000,
    lambda draw: "9" * draw.choice((400, 5000, 10**6)),
    lambda draw: json.dumps({"task": "train", draw.choice(("seed", "epochs", "data", "method")): draw.choice(ODD)}),
    lambda draw: json.dumps([draw.choice(ODD)] * draw.choice((1, 1000, 100_000))),
    lambda draw: "\n".join([json.dumps({"kind": "epoch", "epoch": draw.choice(ODD)})] * 1000),
    lambda draw: json.dumps({"keys": ["a"] * 10, "labels": draw.choice(ODD), "predicted": {"mix": draw.choice(ODD)}}),
    lambda draw: "x" * draw.choice((0, 10**5, 30 * MB)),
)
ODD: tuple[object, ...] = (
    None, -1, 1e308, float("nan"), "", "x" * 10_000, [], {}, [[[]]], True, 10**400, "\u202e\0\x1b[2J",
)  # fmt: skip


def run_file(draw: random.Random, folder: Path) -> Path:
    """Write a runs folder with one run, of which one file is hostile."""
    shipped = next(iter(known_runs(folder)))
    run = folder / "runs" / "20300101-000000-train-pmr-plumage-0000"
    run.mkdir(parents=True)
    for name in FILES:
        if (shipped.folder / name).exists():
            shutil.copy(shipped.folder / name, run / name)
    name = draw.choice(FILES)
    path = run / name
    old = path.read_bytes() if path.exists() else b"{}"
    made = mutated(draw, old) if draw.random() < 0.5 else draw.choice(HOSTILE)(draw).encode(errors="surrogatepass")
    path.unlink(missing_ok=True)
    if draw.random() < 0.03:
        os.mkfifo(path)
    else:
        path.write_bytes(made)
    return path


def _answers(run: Run) -> object:
    return has_predictions(run) and read_predictions(run)


def list_runs(path: Path) -> None:
    """Read what the list of runs and the pages read."""
    found = entries(run for run in known_runs(path.parents[1], damaged=True) if run.folder == path.parent)
    for entry in found:
        run = entry.run
        for read in (Run.status, Run.metrics, Run.result, record_of, _answers):
            with contextlib.suppress(PMSIError):
                read(run)
    if len(found) != 1:
        raise AssertionError("the run is not listed")


# Addresses

PAGE = """
from importlib import import_module
import streamlit as st
from app.shared import session
from app.shared.errors import guarded
view = import_module("app.views.{name}.page").page
page = st.navigation([st.Page(view, title="{name}", url_path="{name}")])
session.enter(page.url_path)
with guarded():
    page.run()
"""
NAMES = ("home", "mosaic", "data", "train", "runs", "perturb", "sweeps", "maps", "stages", "tables")
PARAMETERS = (
    "order", "channel", "closer", "cut",
    "run", "runs", "beside", "third", "source", "image", "data", "seed", "permutation", "look", "epoch", "nth", "place",
    "like", "backbone", "stages", "size", "head", "label", "method", "scale", "overlay", "mosaic", "layout", "more",
    "count", "kept", "tool", "set", "show", "open", "page", "find", "only", "batch", "image_size", "batch_size",
    "train_per_class", "test_per_class", "resize", "channels", "hidden", "projection", "weights", "vary", "preset",
    "settings", "start_from", "table", "seeds", "protocol", "sweep", "sweep-of", "sweep-levels", "sweep-ticked", "k",
    "sigma", "kind", "what", "draw",
)  # fmt: skip
VALUES: tuple[Callable[[random.Random], str], ...] = (
    lambda draw: str(draw.choice((-1, 0, 1, 3, 64, 1024, 4096, 500_000, 2**31, 10**30))),
    lambda draw: "9" * 5000,
    lambda draw: draw.choice(("nan", "inf", "1e308", "", "\0", "../" * 50, "~nosuch/x", "/etc", "timm:resnet18")),
    lambda draw: "x" * draw.choice((5000, 60_000)),
    lambda draw: draw.choice(("demo-baseline", "demo-rmg-pmsi", "pmr", "map", "map", "file", "tiny", "1")),
    lambda draw: ",".join(map(str, range(draw.choice((3, 700, 10_000))))),
    lambda draw: "seed=" + ",".join(map(str, range(draw.choice((3, 700))))),
    lambda draw: "|".join(f"train/gorget_crestjay/{i:04d}" for i in range(400)),
    lambda draw: " ".join(f"gaussian_noise={i}" for i in range(draw.choice((3, 2000)))),
)


def address(draw: random.Random, folder: Path) -> Path:
    """Write a page and its query, of one to six parameters."""
    query = {draw.choice(PARAMETERS): draw.choice(VALUES)(draw) for _ in range(draw.randrange(1, 7))}
    path = folder / "address"
    path.write_text(json.dumps([draw.choice(NAMES), query]))
    return path


def open_page(path: Path) -> None:
    """Open a page in a read-only app."""
    name, query = json.loads(path.read_text())
    os.environ |= {READ_ONLY: "1", "PMSI_RUNS": str(path.parent / "runs"), "PMSI_DATA": str(path.parent)}
    memory.loaded()
    test = AppTest.from_string(PAGE.format(name=name), default_timeout=LIMIT_CPU_S)
    for key, value in query.items():
        test.query_params[key] = value
    test.run()
    if test.exception:
        raise AssertionError(test.exception[0].message)
    if any("not your doing" in error.value for error in test.error):
        raise AssertionError(f"an unforeseen error at {name}?{urlencode(query)[:300]}")


# Weights


@cache
def _whole() -> dict[str, torch.Tensor]:
    return models.mobilenet_v2(weights=None).state_dict()


def weights(draw: random.Random, folder: Path) -> Path:
    """Write a weights file: of safetensors or torch, mutated, or with odd names, shapes and numbers."""
    state = dict(_whole())
    name = draw.choice(list(state))
    if draw.random() < 0.2:
        del state[name]
    match draw.randrange(6):
        case 0:
            state[name] = _whole()[name] * float("nan")
        case 1:
            state[f"module.{name}"] = _whole()[name] + 1
        case 2:
            state[name] = torch.zeros(draw.choice((1, 3, 10**6)), dtype=draw.choice((torch.int64, torch.complex64)))
        case 3:
            state["x" * draw.choice((1, 10**5))] = torch.zeros(1)
        case 4:
            state |= {f"{name}.{i}": torch.zeros(1) for i in range(draw.choice((10, 50_000)))}
    path = folder / draw.choice(("weights.safetensors", "weights.pth"))
    if path.suffix == ".pth":
        torch.save(state, path)
        data = path.read_bytes()
    else:
        data = save({key: value.contiguous() for key, value in state.items()})
    if draw.random() < 0.15 and path.suffix != ".pth":
        data = struct.pack("<Q", draw.choice((0, 2**31, 2**63))) + data[8:]
    path.write_bytes(mutated(draw, data) if draw.random() < 0.5 else data)
    return path


KINDS: dict[str, Kind] = {
    "pictures": Kind(1000, picture, decode, 300 * MB, 5),
    "archives": Kind(300, archive, lambda path: contents(path, ZIP_LIMITS), 100 * MB, 2),
    "runs": Kind(500, run_file, list_runs, 100 * MB, 2),
    "addresses": Kind(500, address, open_page, 1000 * MB, 60),
    "weights": Kind(200, weights, lambda path: check_weights(BACKBONES["mobilenet_v2"], str(path)), 300 * MB, 5),
}


# Trying


def tried(take: Callable[[Path], object], path: Path) -> tuple[str, float, float]:
    """Return what a child says that takes a thing, its peak memory in bytes above that at first, its CPU seconds."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        os.write(writing, _in_child(take, path).encode())
        os._exit(0)
    os.close(writing)
    first = peak = _anonymous(pid)
    while not select.select([reading], [], [], LOOK_S)[0]:
        peak = max(peak, _anonymous(pid))
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status, used = os.wait4(pid, 0)
    if said:
        return said.decode(), float(peak - first), used.ru_utime + used.ru_stime
    died = signal.Signals(status & 127).name if status & 127 else str(status)
    stopped = take is decode and died in ("SIGXCPU", "SIGKILL")  # as the decoder of uploads is
    return ("refused: " if stopped else "killed: ") + died, 0.0, used.ru_utime + used.ru_stime


def _in_child(take: Callable[[Path], object], path: Path) -> str:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_CPU_S, LIMIT_CPU_S))
    size = _bytes("self", "VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (size + LIMIT_BYTES, size + LIMIT_BYTES))
    signal.alarm(10 * LIMIT_CPU_S)
    try:
        take(path)
        outcome = "taken"
    except PMSIError:
        outcome = "refused"
    except BaseException as error:
        outcome = f"fault: {type(error).__name__}: {str(error)[:300]}"
    return outcome


def _anonymous(pid: int) -> int:
    """Return the bytes of a process that no file backs: a child maps its libraries anew, which costs nothing."""
    return _bytes(str(pid), "RssAnon")


def _bytes(pid: str, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next((line.split()[1] for line in lines if line.startswith(name)), "0"))


def fuzz(name: str, count: int, seed: int) -> Found:
    """Try ``count`` inputs of a kind."""
    kind, found = KINDS[name], Found()
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            path = kind.make(random.Random(f"{name} {seed} {number}"), Path(folder))
            found.add(f"{number} ({path.name})", *tried(kind.take, path))
    return found


def lines(name: str, found: Found, took_s: float) -> Iterator[str]:
    """Yield what was found, and whether it is within the limits."""
    kind = KINDS[name]
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(found.outcomes.items()))
    yield f"{name}: {sum(found.outcomes.values())} tried in {took_s:.0f} s: {outcomes}"
    for title, (value, which), most, unit in (
        ("memory", (found.memory[0] / MB, found.memory[1]), kind.bytes / MB, "MB"),
        ("CPU", found.cpu_s, kind.cpu_s, "s"),
    ):
        said = "within" if value <= most else "ABOVE"
        yield f"  most {title}: {value:.1f} {unit} at {which}, {said} {most:g} {unit}"
    yield from (f"  {fault}" for fault in found.faults[:10])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--count", type=int, help="Inputs of each kind, by default its own number.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    np.seterr(all="ignore")
    good = True
    for name in options.only:
        started = time.monotonic()
        found = fuzz(name, options.count or KINDS[name].count, options.seed)
        print("\n".join(lines(name, found, time.monotonic() - started)), flush=True)
        kind = KINDS[name]
        good &= not found.faults and found.memory[0] <= kind.bytes and found.cpu_s[0] <= kind.cpu_s
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
