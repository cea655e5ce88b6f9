"""Training that starts from another run's model: its tensors and nothing else of it, and only where they fit."""

import shutil

import pytest
import torch
from learning import StoppedAfter, assert_equal_bits, go_on, train

from pmsi.base.errors import ConfigError, RunError
from pmsi.data import open_dataset
from pmsi.engine.checkpoint import CHECKPOINT, load_checkpoint
from pmsi.runs import Run, Stopped
from pmsi.training.initial_weights import check_initial_weights, initial_model


@pytest.fixture
def trained(copied):
    """A trained run in ``tmp_path``."""
    return copied


def classes_of(config):
    return open_dataset(config).classes


def state_of(run):
    return load_checkpoint(run.checkpoints / CHECKPOINT).model


def test_the_model_is_the_other_run_s_to_the_bit(trained, tmp_path):
    config = trained.config.with_(start_from=trained.id, lr_new=0.5, epochs=9, seed=4)
    model = initial_model(config, Run.create(tmp_path, config), classes_of(config))
    ours, theirs = model.state_dict(), state_of(trained)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert model.training


def test_training_goes_on_from_it_with_its_own_recipe(trained, tmp_path):
    """With learning rates of 0 nothing moves but BatchNorm's buffers: the weights are those of the other run."""
    config = trained.config.with_(start_from=trained.id, lr_new=0.0, lr_pretrained=0.0, epochs=1)
    run = Run.create(tmp_path, config)
    result = train(config, run)
    before, after = state_of(trained), state_of(run)
    weights = [name for name in before if name.endswith(("weight", "bias"))]
    assert all(torch.equal(before[name], after[name]) for name in weights)
    assert result["last"]["epoch"] == 1


def test_a_resumed_run_does_not_need_the_other_one(trained, tmp_path):
    """Stopped after its first batch, it ends as the uninterrupted one does, to the bit, with the other run gone."""
    config = trained.config.with_(start_from=trained.id, epochs=1)
    whole, broken = Run.create(tmp_path, config), StoppedAfter(Run.create(tmp_path, config).folder, 1)
    train(config, whole)
    with pytest.raises(Stopped):
        train(config, broken)
    shutil.rmtree(trained.folder)
    train(config, go_on(broken))
    assert_equal_bits(broken, whole)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"backbone": "resnet18"}, "backbone"), ({"channels": 32}, "channels"), ({"method": "baseline"}, "method")],
)
def test_a_model_that_does_not_fit_is_refused_by_what_differs(trained, tmp_path, changes, named):
    config = trained.config.with_(start_from=trained.id, **changes)
    with pytest.raises(ConfigError, match=f"{named} = "):
        check_initial_weights(config, tmp_path)
    with pytest.raises(ConfigError, match=trained.id):
        initial_model(config, Run.create(tmp_path, config), classes_of(config))


def test_only_what_changes_tensors_counts(trained, tmp_path):
    check_initial_weights(trained.config.with_(start_from=trained.id, augmentation="cutmix", dropout=0.1), tmp_path)


def test_other_classes_are_refused(trained, tmp_path):
    config = trained.config.with_(start_from=trained.id)
    classes = classes_of(config)
    run = Run.create(tmp_path, config)
    with pytest.raises(ConfigError, match="Dodo"):
        initial_model(config, run, ("Dodo", *classes[1:]))
    with pytest.raises(ConfigError, match="order"):
        initial_model(config, run, classes[::-1])


def test_a_run_that_is_not_there_or_has_no_model_is_refused(trained, tmp_path, tiny_config):
    with pytest.raises(RunError, match="nowhere"):
        check_initial_weights(tiny_config.with_(start_from="nowhere"), tmp_path)
    empty = Run.create(tmp_path, tiny_config)
    with pytest.raises(RunError, match="checkpoint"):
        check_initial_weights(tiny_config.with_(start_from=empty.id), tmp_path)
    check_initial_weights(tiny_config, tmp_path)


def test_the_command_line_completes_the_id_and_checks_the_start(trained, tmp_path, pmsi):
    flags = ["--backbone", "tiny", "--weights", "none", "--image-size", "64", "--epochs", "1"]
    status, _, said = pmsi("train", *flags, "--start-from", trained.id[:-2], "--runs", tmp_path)
    assert status == 2
    assert f"--start-from '{trained.id}'" in said
    assert "channels" in said
    assert pmsi("train", *flags, "--start-from", "nowhere", "--runs", tmp_path)[0] == 2
