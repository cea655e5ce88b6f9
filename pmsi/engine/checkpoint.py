"""Weights and training state on disk: one safetensors file, written atomically, never a pickle.

A training checkpoint holds all that a run needs to go on: ``model.*`` (with BatchNorm's buffers) and ``optimizer.*``
tensors, the record of the run's data, and as metadata the epoch, the step, the config and the class names. It holds no
state of a random generator, since every draw is seeded by its place in training. A checksum reveals a damaged file.
"""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from pmsi.base.errors import CheckpointError, ConfigError, RunError
from pmsi.base.files import cached_by_files, open_regular, parse_json, write_atomically
from pmsi.config import TrainConfig, differences, from_dict
from pmsi.data.record import FILE, DataRecord
from pmsi.methods import build
from pmsi.model import Recognizer
from pmsi.model.timm import renamed
from pmsi.runs import Run
from pmsi.runs.record import why_not_together
from pmsi.runs.run import CHECKPOINT

FORMAT = "pmsi-checkpoint-1"
_MODEL, _OPTIMIZER = "model.", "optimizer."

PREVIOUS = "previous.safetensors"
"""The checkpoint before the last one, while a run is worked on: a damaged last one costs the time since this one."""

MAY_CHANGE = (
    "device",
    "threads",
    "workers",
    "devices",
    "compile",
    "checkpoint_every_s",
    "evaluate_every",
    "trackers",
    "theatre",
    "data",
)
"""Settings that may differ when a run is resumed: they change the last bits of its result at most, and a change of
``devices`` is logged. Any other change is refused."""

NAMED = 3
"""How many mismatched tensors an error names; it counts the others."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint read from ``path``: ``model`` and ``optimizer`` are state dicts, ``about`` is JSON.

    ``record`` is that of the run's data, None in a checkpoint that is older than records.
    """

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    about: dict[str, Any]
    path: Path
    record: DataRecord | None = None

    def check_config(self, config: TrainConfig) -> None:
        """Raise CheckpointError if ``config`` differs from the checkpoint's in a setting outside `MAY_CHANGE`."""
        then = from_dict(self.about["config"])
        for name, now in differences(config, then).items():
            if name not in MAY_CHANGE:
                raise CheckpointError(
                    f"{name} = {now!r}, but the checkpoint {self.path} was made with {getattr(then, name, None)!r}. "
                    "Set it back, or start a new run."
                )

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Load the state into ``model`` and ``optimizer``.

        Raises CheckpointError, and loads nothing, unless every tensor fits in name, shape and dtype. torch's own check
        ignores a missing or misshapen momentum buffer, and another dtype.
        """
        tensors = renamed(self.model, model)
        mismatches = list(_mismatches(model.state_dict(), tensors))
        if optimizer is not None:
            state = optimizer.state_dict()
            mismatches += _mismatches(_slots(state), _slots(self.optimizer))
            if _groups(state) != _groups(self.optimizer):
                mismatches.append("the optimizer's groups of parameters differ")
        if mismatches:
            more = f" and {len(mismatches) - NAMED} more" if len(mismatches) > NAMED else ""
            raise CheckpointError(
                f"The checkpoint {self.path} does not fit its own config: {', '.join(mismatches[:NAMED])}{more}. "
                "It was changed, or made by another version of the program: start a new run.",
                final=True,
            )
        model.load_state_dict(tensors)
        if optimizer is not None:
            optimizer.load_state_dict(self.optimizer)


def _mismatches(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield each difference of ``found`` from ``expected``, in words."""
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            yield f"{name} is missing"
        elif name not in expected:
            yield f"{name} is unknown"
        elif (ours := _kind(found[name])) != (theirs := _kind(expected[name])):
            yield f"{name} is {ours} and should be {theirs}"


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _slots(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of an optimizer's state dict as ``optimizer.INDEX.KEY``."""
    return {
        f"{_OPTIMIZER}{index}.{key}": value
        for index, slots in state["state"].items()
        for key, value in slots.items()
        if value is not None
    }


def _groups(state: Mapping[str, Any]) -> list[list[int]]:
    """Return the numbers of the parameters in each group of an optimizer's state dict."""
    return [group["params"] for group in state["param_groups"]]


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    about: dict[str, Any],
    record: DataRecord | None = None,
    keep: bool = False,
) -> None:
    """Write a training checkpoint; ``about`` is JSON (epoch, step, config, classes), ``record`` that of the data.

    With ``keep``, the one that was there stays beside it as `PREVIOUS`.
    """
    content = checkpoint_bytes(model.state_dict(), optimizer.state_dict(), about, record)
    write_atomically(path, content, keep=path.with_name(PREVIOUS) if keep else None)


def room_for(model: nn.Module) -> int:
    """Return about how many bytes a training checkpoint of a model takes: its tensors, and a momentum each."""
    tensors = [*model.state_dict().values(), *model.parameters()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def checkpoint_bytes(
    model: Mapping[str, Tensor],
    optimizer: Mapping[str, Any],
    about: Mapping[str, Any],
    record: DataRecord | None = None,
) -> bytes:
    """Return the bytes of a checkpoint file of a model's and an optimizer's state dicts; ``about`` is JSON."""
    tensors = {_MODEL + name: value for name, value in model.items()} | _slots(optimizer)
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    if record is not None:
        tensors[FILE] = torch.frombuffer(bytearray(record.to_bytes()), dtype=torch.uint8)
    header = {"format": FORMAT, "about": json.dumps(about), "param_groups": json.dumps(optimizer["param_groups"])}
    header["checksum"] = _checksum(tensors, header)
    return safetensors.torch.save(tensors, header)


def _checksum(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    """Return the CRC-32 of a checkpoint's header, tensors and their names, as 8 hexadecimal digits."""
    value = 0
    for key in ("about", "param_groups"):
        value = zlib.crc32(header.get(key, "").encode(), value)
    for name in sorted(tensors):
        value = zlib.crc32(f"{name} {_kind(tensors[name])}".encode(), value)
        value = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, value)
    return f"{value:08x}"


def load_checkpoint(path: Path) -> Checkpoint:
    """Return a file's checkpoint; raises CheckpointError if the file is missing, foreign or damaged."""
    header, tensors = _read(path)
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of this program: its format is {header.get('format')!r}.")
    # Files of earlier versions have no checksum.
    if header.get("checksum", checksum := _checksum(tensors, header)) != checksum:
        raise CheckpointError(f"{path} is damaged: its content has changed since it was written. Use another copy.")
    slots: dict[int, dict[str, Tensor]] = {}
    try:
        for name, value in tensors.items():
            if name.startswith(_OPTIMIZER):
                _, index, key = name.split(".", 2)
                slots.setdefault(int(index), {})[key] = value
        about, groups = parse_json(header["about"]), parse_json(header["param_groups"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {type(error).__name__}: {error}. Use another copy.") from error
    # Exported models may be stored in half precision (`pmsi.export.formats`); they compute in float32.
    wide = {name: value.float() if value.dtype == torch.float16 else value for name, value in tensors.items()}
    model = {name.removeprefix(_MODEL): value for name, value in wide.items() if name.startswith(_MODEL)}
    record = DataRecord.from_bytes(tensors[FILE].numpy().tobytes(), str(path)) if FILE in tensors else None
    return Checkpoint(model, {"state": slots, "param_groups": groups}, about, path, record)


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the metadata and the tensors of a safetensors file; nothing in it is executed."""
    try:
        open_regular(path).close()
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return file.metadata() or {}, tensors
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no checkpoint at {path}.") from error
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}.") from error


def has_checkpoint(folder: Path) -> bool:
    """Return whether a run's folder of checkpoints has one to go on from, whole or not."""
    return any((folder / name).exists() for name in (CHECKPOINT, PREVIOUS))


def newest_checkpoint(folder: Path) -> tuple[Checkpoint, str]:
    """Return the last checkpoint in a folder that is whole, and what is wrong with a newer one, "" where there is none.

    Raises CheckpointError if none is whole.
    """
    damage: list[str] = []
    for name in (CHECKPOINT, PREVIOUS):
        try:
            return load_checkpoint(folder / name), " ".join(damage)
        except CheckpointError as error:
            damage.append(str(error))
    raise CheckpointError(f"{damage[0]} There is no earlier one that is whole: start a new run.", final=True)


@cached_by_files(lambda run: [run.folder / "checkpoints" / name for name in (CHECKPOINT, PREVIOUS)], most=64)
def can_go_on(run: Run) -> bool:
    """Return whether a run has a whole checkpoint, or none and would begin anew."""
    folder = run.folder / "checkpoints"
    if has_checkpoint(folder):
        try:
            newest_checkpoint(folder)
        except CheckpointError:
            return False
    return True


def find_checkpoint(run: Run) -> Path:
    """Return the path of a training run's checkpoint; raises RunError if it has none."""
    if not isinstance(run.config, TrainConfig):
        raise RunError(f"Run {run.id} is a {run.config.task!r} run and has no model. Choose a training run.")
    path = run.folder / "checkpoints" / CHECKPOINT
    if not path.exists():
        raise RunError(f"Run {run.id} has no checkpoint yet: one is written at the end of each epoch.")
    return path


def check_together(runs: Sequence[Run], limited: bool, insist: bool, words: str, live: bool = False) -> None:
    """Raise RunError if a run has no model, ConfigError if one is worked on or its test images are not the first's.

    ``words`` begin the message that they cannot (`why_not_together`); only with ``live`` may a run be worked on.
    """
    for run in runs:
        find_checkpoint(run)
        if run.state.is_live and not live:
            raise ConfigError(f"Run {run.id} is {run.state.value}, so its model changes. Wait for its end, or stop it.")
    for other in runs[1:]:
        if reasons := why_not_together(runs[0], other, limited, insist):
            raise ConfigError(" ".join([words, *reasons]))


def load_model(run: Run, device: torch.device) -> tuple[Recognizer, TrainConfig, tuple[str, ...]]:
    """Return a training run's model at its last checkpoint (in eval mode, frozen), its config and its classes."""
    checkpoint = load_checkpoint(find_checkpoint(run))
    config = from_dict(checkpoint.about["config"])
    assert isinstance(config, TrainConfig)
    classes = tuple(checkpoint.about["classes"])
    model = build(config, len(classes), pretrained=False)
    checkpoint.restore(model)
    return model.to(device).eval().requires_grad_(False), config, classes
