"""Checkpoints: whole or absent whatever kills the writer, refused when damaged or foreign, and exact when resumed."""

import json
import os
import pickle
import random
import shutil
import struct

import numpy as np
import pytest
import safetensors.torch
import torch
from dying import deaths
from learning import StoppedAfter, Training, assert_equal_bits, go_on, state
from small import SMALL
from torch import nn

from pmsi.base.errors import CheckpointError
from pmsi.base.files import remove_leftovers
from pmsi.config import TrainConfig
from pmsi.engine import checkpoint as checkpoints
from pmsi.engine.checkpoint import MAY_CHANGE, PREVIOUS, can_go_on, load_checkpoint, save_checkpoint
from pmsi.runs import Run, Stopped
from pmsi.runs.run import CHECKPOINT

SMALL = SMALL.with_(device="cpu")


@pytest.fixture
def start(tmp_path, colour_dataset):
    """Return a function that begins, or goes on with, a training run on the colours."""

    def begin(config=SMALL, run=None):
        return Training(config, colour_dataset, run or Run.create(tmp_path, config))

    return begin


@pytest.fixture
def parts():
    """A small model with BatchNorm's buffers, its optimizer with momentum, and what is said about them."""
    return make_parts()


def make_parts(width=3):
    model = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for number, parameter in enumerate(model.parameters()):
        optimizer.state[parameter]["momentum_buffer"] = torch.full_like(parameter, number + 0.5)
    return model, optimizer, {"epoch": 1, "step": 7, "config": SMALL.to_dict()}


def fill(model, optimizer, number):
    """Let every number of a model and its optimizer be ``number``."""
    with torch.no_grad():
        for value in model.state_dict().values():
            value.fill_(number)
        for slots in optimizer.state.values():
            slots["momentum_buffer"].fill_(number)


# Whole or absent


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_whatever_moment_a_writer_is_killed_at_a_whole_checkpoint_is_found(tmp_path):
    """Each version holds its own number everywhere, so that a mixture of two versions would be seen."""
    path, versions = tmp_path / CHECKPOINT, []
    model, optimizer, _ = make_parts(width=128)

    def save(version):
        fill(model, optimizer, version)
        save_checkpoint(path, model, optimizer, {"version": version}, keep=True)

    save(0)
    for _ in deaths(lambda: 1, save):
        found = load_checkpoint(path)
        versions.append(version := found.about["version"])
        slots = [slot["momentum_buffer"] for slot in found.optimizer["state"].values()]
        assert len(slots) == 4
        assert all((value == version).all() for value in (*found.model.values(), *slots))
        remove_leftovers(tmp_path)
        for other in set(tmp_path.iterdir()) - {path}:
            assert other.name == PREVIOUS
            assert load_checkpoint(other).about["version"] <= version
    assert versions == sorted(versions)
    assert set(versions) == {0, 1}


# Damaged or foreign


def test_no_flipped_bit_goes_unseen(tmp_path, parts):
    """Wherever it is: in the length, the header, the metadata within it, or the tensors."""
    path = tmp_path / CHECKPOINT
    save_checkpoint(path, *parts)
    whole, bits = path.read_bytes(), random.Random(0)
    word = whole.index(b'"checksum"')
    guard = range(word + 1, word + len("checksum") + 1)  # hurt, the word leaves what it guards as it was
    for place in sorted(set(range(len(whole))) - set(guard))[::7]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bits.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=CHECKPOINT):
            load_checkpoint(path)
    for end in (0, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(CheckpointError, match=CHECKPOINT):
            load_checkpoint(path)


class Bomb:
    """What an attacker would pickle: opening it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_by_another_name_is_refused_and_not_executed(tmp_path, parts):
    path, exploded = tmp_path / CHECKPOINT, tmp_path / "exploded"
    path.write_bytes(pickle.dumps({"model": Bomb(exploded)}))
    with pytest.raises(CheckpointError, match=CHECKPOINT):
        load_checkpoint(path)
    assert not exploded.exists()
    pickle.loads(path.read_bytes())
    assert exploded.exists()  # it would have been


def test_tensors_of_something_else_are_called_foreign_and_what_says_nothing_of_itself_damaged(tmp_path, parts):
    path, ours = tmp_path / CHECKPOINT, {"format": checkpoints.FORMAT}
    for metadata, words in (
        (None, "None"),
        ({"format": "pt"}, "'pt'"),
        (ours, "damaged"),
        (ours | {"about": "{", "param_groups": "[]"}, "damaged"),
    ):
        safetensors.torch.save_file(parts[0].state_dict(), path, metadata)
        with pytest.raises(CheckpointError, match=words):
            load_checkpoint(path)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "nowhere")


def test_a_checkpoint_without_a_checksum_is_one_of_an_earlier_version(tmp_path, parts):
    model, optimizer, about = parts
    path = tmp_path / CHECKPOINT
    save_checkpoint(path, model, optimizer, about)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    del header["__metadata__"]["checksum"]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    assert load_checkpoint(path).about == about


MISFITS = {
    "missing": (lambda found: found.model.pop("0.weight"), "0.weight is missing"),
    "shape": (
        lambda found: found.model.update({"0.weight": torch.ones(2, 3)}),
        r"0\.weight is float32 \(2, 3\) and should be float32 \(3, 3\)",
    ),
    "buffer": (lambda found: found.model.pop("1.running_var"), "1.running_var is missing"),
    "momentum": (lambda found: found.optimizer["state"].pop(2), r"optimizer\.2\.momentum_buffer is missing"),
    "all": (lambda found: found.model.clear(), "0.bias is missing, .* and 4 more"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_what_does_not_fit_is_named_and_nothing_is_restored(tmp_path, parts, misfit):
    model, optimizer, about = parts
    save_checkpoint(tmp_path / CHECKPOINT, model, optimizer, about)
    found = load_checkpoint(tmp_path / CHECKPOINT)
    spoil, message = MISFITS[misfit]
    spoil(found)
    fill(model, optimizer, -1)
    with pytest.raises(CheckpointError, match=message):
        found.restore(model, optimizer)
    assert all((value == -1).all() for value in model.state_dict().values())
    assert all((slots["momentum_buffer"] == -1).all() for slots in optimizer.state.values())


# Exact


def test_a_run_goes_on_with_other_means_but_not_with_another_config(tmp_path, parts):
    save_checkpoint(tmp_path / CHECKPOINT, *parts)
    found = load_checkpoint(tmp_path / CHECKPOINT)
    for name, value in {"lr_new": 0.04, "batch_size": 4, "precision": "bfloat16", "augmentation": "mixup"}.items():
        with pytest.raises(CheckpointError, match=f"{name} = .*{value}.*{getattr(SMALL, name)}"):
            found.check_config(SMALL.with_(**{name: value}))
    values = {"device": "auto", "trackers": ("tensorboard",), "data": "elsewhere", "checkpoint_every_s": 1.0}
    numbers = {"threads": 2, "workers": 2, "devices": 2, "evaluate_every": 2, "compile": True, "theatre": False}
    assert (values | numbers).keys() == set(MAY_CHANGE)
    found.check_config(SMALL.with_(**values, **numbers))


def disturb(number):
    """Leave every global generator in a state of its own."""
    torch.manual_seed(number)
    np.random.seed(number)  # noqa: NPY002 (the global generator is what is disturbed)
    random.seed(number)


@pytest.mark.parametrize(
    "changes", [{"method": "pmr", "augmentation": "snapmix", "nested": True}, {"method": "api"}], ids=str
)
def test_no_global_generator_matters_so_none_is_kept(start, changes):
    """An undisturbed run, and one in which all of them are disturbed after each batch, and when it resumes."""
    config = SMALL.with_(dropout=0.5, **changes)
    disturb(0)
    whole = start(config)
    whole.fit()
    disturb(1)
    folder = start(config).run.folder
    broken = StoppedAfter(folder, 3, between=lambda done: disturb(10 + done))
    with pytest.raises(Stopped):
        start(config, broken).fit()
    go_on(broken)
    disturb(2)
    start(config, StoppedAfter(folder, between=lambda done: disturb(30 + done))).fit()
    assert_equal_bits(broken, whole.run)


def damage(path):
    """Flip one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_flipped_bit_costs_the_time_since_the_checkpoint_before(start):
    """Stopped in the second epoch, damaged, resumed, stopped and damaged again, it ends like the undisturbed run."""
    whole = start()
    whole.fit()
    assert not (whole.run.checkpoints / PREVIOUS).exists()
    folder = start().run.folder
    for batches in (5, 6):
        with pytest.raises(Stopped):
            start(SMALL, StoppedAfter(folder, batches)).fit()
        run = go_on(Run(folder))
        damage(run.checkpoints / CHECKPOINT)
        assert can_go_on(run)
    start(SMALL, StoppedAfter(folder)).fit()
    assert_equal_bits(run, whole.run)
    assert run.log_tail().count(CHECKPOINT) == 2
    damage(run.checkpoints / CHECKPOINT)
    assert not can_go_on(run)
    with pytest.raises(CheckpointError, match=CHECKPOINT) as error:
        start(SMALL, run)
    assert error.value.final


def test_a_checkpoint_says_under_which_conditions_it_was_made(start):
    trainer = start()
    trainer.fit()
    about = load_checkpoint(trainer.run.checkpoints / CHECKPOINT).about
    assert TrainConfig(**{key: value for key, value in about["config"].items() if key != "task"}) == SMALL
    assert (about["epoch"], about["batch"], about["step"]) == (2, 0, 8)
    assert about["made_with"].keys() >= {"threads", "processes", "pmsi", "torch", "torchvision"}
    moved = {name for name in state(trainer.run) if "running_" in name or "num_batches" in name}
    assert moved
    other = start(SMALL.with_(lr_new=0.01))
    shutil.copy(trainer.run.checkpoints / CHECKPOINT, other.run.checkpoints)
    with pytest.raises(CheckpointError, match=r"lr_new = 0\.01, but the checkpoint .* was made with 0\.05"):
        start(other.config, other.run)
