"""Stage maps, receptive fields and weights of the backbones, against torchvision's own networks."""

import os

import pytest
import torch

from pmsi.base.errors import CheckpointError
from pmsi.base.vision import models
from pmsi.model.backbones import BACKBONES, check_weights, pretrained_state

# METHOD's table for MobileNetV2; He et al. (2016), Table 1, for the ResNets.
CHANNELS = {"mobilenet_v2": (32, 24, 32, 96, 1280), "resnet18": (64, 64, 128, 256, 512)}


@pytest.mark.parametrize("name", CHANNELS)
def test_maps_have_the_published_channels_and_are_torchvision_s_up_to_its_classifier(name, generator):
    net = getattr(models, name)(weights=None).eval()
    backbone = BACKBONES[name].make(net.state_dict()).eval()
    images = torch.randn(2, 3, 64, 64, generator=generator)
    maps = backbone(images)
    assert tuple(stage_map.shape[1] for stage_map in maps) == CHANNELS[name] == backbone.channels
    assert tuple(stage_map.shape[-1] for stage_map in maps) == (32, 16, 8, 4, 2)
    classifier = net.classifier if name == "mobilenet_v2" else net.fc
    torch.testing.assert_close(classifier(maps[-1].mean(dim=(2, 3))), net(images), rtol=1e-4, atol=1e-5)
    for done in range(1, 5):
        for ours, whole in zip(backbone.advance(maps[done - 1], done), maps[done:], strict=True):
            torch.testing.assert_close(ours, whole)


def test_receptive_fields_are_those_of_the_method_s_table_and_follow_the_main_path_of_a_resnet():
    assert BACKBONES["mobilenet_v2"].make(None).receptive_fields() == (3, 19, 59, 267, 491)
    # 7×7/2, pool 3/2, then pairs of 3×3: r ← r + 2j for each, by hand.
    field, jump, expected = 7 + 2 * 2, 4, [7]
    for stride in (1, 2, 2, 2):
        for block in range(2):
            field += 2 * jump
            jump *= stride if block == 0 else 1
            field += 2 * jump
        expected.append(field)
    assert BACKBONES["resnet18"].make(None).receptive_fields() == tuple(expected)


def test_weights_come_from_a_file_and_a_changed_one_is_looked_at_again(tmp_path, generator):
    """torchvision's own files of the ResNets hold no num_batches_tracked."""
    net, row, path = models.resnet18(weights=None).eval(), BACKBONES["resnet18"], tmp_path / "w.pth"
    state = {f"module.{k}": v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save({"state_dict": state}, path)
    images = torch.randn(1, 3, 64, 64, generator=generator)
    pooled = row.make(pretrained_state(row, str(path))).eval()(images)[-1].mean(dim=(2, 3))
    torch.testing.assert_close(net.fc(pooled), net(images))
    check_weights(row, str(path))
    torch.save(models.mobilenet_v2(weights=None).state_dict(), path)
    os.utime(path, ns=(0, 0))
    with pytest.raises(CheckpointError, match="not those of resnet18"):
        check_weights(row, str(path))
    with pytest.raises(CheckpointError, match="no weights file at"):
        pretrained_state(row, str(tmp_path / "none.pth"))


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "tiny"])
def test_a_stem_of_stride_1_makes_every_map_twice_as_large(name, generator):
    backbone = BACKBONES[name].make(None, 1).eval()
    assert [stage_map.shape[-1] for stage_map in backbone(torch.zeros(1, 3, 64, 64))] == [64, 32, 16, 8, 4]
    wide, narrow = BACKBONES[name].make(None).receptive_fields(), backbone.receptive_fields()
    steps = [2 * near - far for far, near in zip(wide, narrow, strict=True)]
    assert len(set(steps)) == 1  # each pixel behind the stem is half as wide as at stride 2
    assert name != "mobilenet_v2" or narrow[2] == 31  # METHOD: below its 56-px patch


def test_weights_that_cannot_be_had_are_refused(monkeypatch):
    assert pretrained_state(BACKBONES["tiny"], "none") is None
    for weights in ("some.pth", "imagenet"):
        with pytest.raises(CheckpointError, match="no weights to start from"):
            pretrained_state(BACKBONES["tiny"], weights)

    class Offline:
        def get_state_dict(self, **_):
            raise OSError("Name or service not known")

    monkeypatch.setattr(models, "get_weight", lambda name: Offline())
    with pytest.raises(CheckpointError, match="--weights FILE"):
        pretrained_state(BACKBONES["resnet18"], "imagenet")
