"""What a machine lacks for a config is said before a run is made, with the change that helps; and what can be known."""

import pytest
import torch

from pmsi import tasks
from pmsi.base.errors import PMSIError
from pmsi.engine import machine


@pytest.fixture
def refused(tiny_config, tmp_path):
    """Check a config with changes, and return the changes that its refusal offers."""

    def checked(config):
        tasks.check_all(config, tmp_path)

    def check(**changes):
        config = tiny_config.with_(**changes)
        with pytest.raises(PMSIError) as error:
            checked(config)
        for fix in error.value.fixes:
            checked(config.with_(**fix.changes))  # what is offered helps
        return error.value, [fix.changes for fix in error.value.fixes]

    return check


def test_what_the_machine_lacks_is_refused_and_another_machine_may_have_it(refused, tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CXX", "no-compiler-here")
    usage, small = machine.shutil.disk_usage, type("Usage", (), {"free": 9000, "total": 9000})
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda at: small if at == machine.SHARED else usage(at))
    for changes, fix in {
        ("device", "cuda"): {"device": "auto"},
        ("compile", True): {"compile": False},
        ("workers", 1): {"workers": 0},
    }.items():
        error, fixes = refused(**dict([changes]))
        assert (fixes, error.final) == ([fix], False)
        tasks.check(tiny_config.with_(**dict([changes])), tmp_path, "slurm")


def test_more_devices_than_gpus_are_refused(refused, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert refused(devices=3)[1] == [{"devices": 2}]


@pytest.mark.parametrize("method", ["pmr", "m"])
def test_a_share_of_one_image_is_refused_where_batchnorm_needs_more(refused, method):
    assert refused(method=method, batch_size=6, devices=6)[1] == [{"batch_size": 12}, {"devices": 3}]


def test_a_share_of_one_image_is_enough_without_batchnorm_over_vectors(tiny_config, tmp_path):
    tasks.check(tiny_config.with_(method="baseline", devices=6), tmp_path)


def test_a_batch_larger_than_the_data_is_refused(refused):
    error, fixes = refused(batch_size=4000)
    assert (len(fixes), error.final) == (1, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"frozen_epochs": 5, "weights": "imagenet", "backbone": "resnet18"},
        {"image_size": 100},
        {"devices": 4},
        {"method": "pc", "batch_size": 7},
        {"method": "baseline", "augmentation": "rmg"},
        {"weights_part": "ema"},
        {"weights": "imagenet", "frozen_epochs": 0},
    ],
)
def test_settings_that_contradict_each_other_come_with_what_helps(refused, changes):
    assert refused(**changes)[1]
