"""What a file is that was given for weights, by its content: KINDS, and what to do with a file that holds none."""

import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pmsi.base.errors import CheckpointError
from pmsi.base.text import size

HEAD = 4096
"""Bytes at the start of a file that are looked at."""

LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first bytes of a file that torch.save wrote before version 1.6, or since then without a zip."""

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")

SCRIPT = re.compile(rb"^(#!|\s*(import|from|def|class|@)\s|\s*\"\"\")", re.MULTILINE)

SAVE = "torch.save(model.state_dict(), FILE), or safetensors"
AGAIN = "Download it once more"


@dataclass(frozen=True)
class Kind:
    """A kind of file without weights: how its first bytes look, what it is, and what to do instead."""

    looks: Callable[[bytes], bool]
    what: str
    remedy: str


def _starts(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(beginnings)


def _matches(pattern: bytes) -> Callable[[bytes], bool]:
    return lambda head: re.match(pattern, head, re.IGNORECASE | re.DOTALL) is not None


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = head[: error.start].decode("utf-8-sig") if error.start > len(head) - 4 else "\0"
    return not any(ord(letter) < 32 and letter not in "\t\n\r\f" for letter in text)


UNPACK = "Unpack it, and give the file of weights that is in it"
OTHER = f"Take the network's PyTorch weights instead: {SAVE}"

KINDS: tuple[Kind, ...] = (
    Kind(lambda head: not head, "is empty", f"{AGAIN}, or copy it again"),
    Kind(lambda head: not head.strip(b"\0"), "holds zeros alone, as an unfinished download does", AGAIN),
    Kind(
        _starts(b"version https://git-lfs.github.com/spec/"),
        "is a pointer of Git LFS, which stands in the weights' place",
        "Fetch the weights with git lfs pull in that repository",
    ),
    Kind(
        _matches(rb"(\.\./|/)*(\.git/)?annex/objects/"),
        "is a pointer of git-annex, which stands in the weights' place",
        "Fetch the weights with git annex get in that repository",
    ),
    Kind(
        _matches(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype|html|head|body|error|script)\b"),
        "is a web page, such as a login or an error that was saved under this name",
        "Open the address in a browser, and download the file itself",
    ),
    Kind(
        _matches(rb"(\xef\xbb\xbf)?\s*[\[{]\s*([\"\]}\[{]|-?\d)"),
        "is JSON, a list or settings of a model and not its weights",
        "Give the file of weights that lies beside it (.safetensors, .bin, .pth)",
    ),
    Kind(
        _starts(b"\x89HDF\r\n\x1a\n"),
        "is an HDF5 file, such as Keras's .h5",
        OTHER,
    ),
    Kind(_starts(b"\x93NUMPY"), "is an array of NumPy (.npy)", OTHER),
    Kind(lambda head: head[4:8] == b"TFL3", "is a TensorFlow Lite model", OTHER),
    Kind(lambda head: head[4:8] in (b"PTMF", b"ET12"), "is a PyTorch model for phones", OTHER),
    Kind(_starts(b"GGUF", b"GGML", b"ggjt"), "is a GGUF model", OTHER),
    Kind(_matches(rb"\x08[\x01-\x1f][\x12\x1a\x22\x2a\x32\x3a\x42]"), "is a graph of ONNX or TensorFlow", OTHER),
    Kind(_matches(rb".{257}ustar"), "is a tar archive", UNPACK),
    Kind(
        _starts(b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf'\x1c", b"Rar!"),
        "is compressed",
        UNPACK,
    ),
    Kind(
        lambda head: _is_text(head) and SCRIPT.search(head) is not None,
        "is a script, and nothing in it was run",
        f"Give the weights that it makes or loads, saved with {SAVE}",
    ),
    Kind(_is_text, "is a text", "Give the file of weights"),
    Kind(
        _starts(b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"%PDF"),
        "is a picture or a document",
        "Give the file of weights",
    ),
    Kind(_starts(b"\x7fELF", b"MZ"), "is a program", "Give the file of weights; nothing in this one was run"),
)

ARCHIVES: dict[str, Callable[[Sequence[str]], bool]] = {
    "is a TorchScript archive, a network with its program, and was not opened": lambda names: any(
        name.endswith("/constants.pkl") or "/code/__torch__" in name for name in names
    ),
    "is an exported program of torch.export (.pt2)": lambda names: any(
        name.rpartition("/")[2] in ("archive_format", "serialized_exported_program.json") for name in names
    ),
    "is a Keras model (.keras)": lambda names: "model.weights.h5" in names,
    "is a collection of NumPy arrays (.npz)": lambda names: all(name.endswith(".npy") for name in names),
}
"""Kinds of zip files without a state dict, by what is in them."""


def check_kind(path: Path) -> str:
    """Return "zip", "legacy" or "safetensors" for a file that may hold a state dict.

    Raises CheckpointError for any other, with what the file is and what to do.
    """
    if path.is_dir():
        inside = sorted(each.name for each in path.iterdir() if each.suffix in SUFFIXES)
        hint = f", such as {inside[0]}" if inside else ""
        raise CheckpointError(f"{path} is a folder. Give the file of weights in it{hint}.")
    if not path.is_file():
        raise CheckpointError(f"There is no weights file at {path}. Give the path of one, or imagenet or none.")
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith(b"PK\x03\x04"):
        _check_zip(path)
        return "zip"
    if head.startswith(LEGACY):
        return "legacy"
    if head[8:9] == b"{" and head[7:8] == b"\0":
        _check_safetensors(path, head)
        return "safetensors"
    for kind in KINDS:
        if kind.looks(head):
            raise refusal(path, kind.what, kind.remedy)
    if head.startswith(b"\x80"):
        raise refusal(path, "is a pickle that torch.save did not write, and was not opened", OTHER)
    if tarfile.is_tarfile(path):
        raise refusal(path, "is a tar archive", UNPACK)
    raise refusal(
        path,
        "is damaged or no weights file: its first bytes are those of no kind known here",
        f"{AGAIN}, or save the weights with {SAVE}",
    )


def refusal(path: Path, what: str, remedy: str) -> CheckpointError:
    """Return the error about a file: what it is, and what to do."""
    return CheckpointError(f"{path} {what}. {remedy}.")


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        whole = size(path.stat().st_size)
        raise refusal(path, f"is cut short: it has {whole}, and its end is missing", AGAIN) from error
    for what, applies in ARCHIVES.items():
        if applies(names):
            raise refusal(path, what, OTHER)
    if not any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        weights = next(
            (name for name in names if name.endswith((".safetensors", ".pth", ".pt", ".bin", ".ckpt"))), None
        )
        what = f"is a zip archive with {weights}" if weights else "is a zip archive without weights of PyTorch"
        raise refusal(path, what, UNPACK)


def _check_safetensors(path: Path, head: bytes) -> None:
    """Raise CheckpointError where the file is shorter than its header says."""
    length, there = int.from_bytes(head[:8], "little"), path.stat().st_size
    needed = 8 + length
    if needed <= there and length < 100_000_000:
        with path.open("rb") as file:
            try:
                header = json.loads(file.read(needed)[8:])
                ends = [about["data_offsets"][1] for name, about in header.items() if name != "__metadata__"]
                needed += max(map(int, ends), default=0)
            except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
                raise refusal(path, "is a damaged safetensors file: its header cannot be read", AGAIN) from error
    if needed > there:
        raise refusal(path, f"is cut short: it has {size(there)} of {size(needed)}", AGAIN)
