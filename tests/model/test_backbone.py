"""Stage maps, receptive fields and weights of the backbones, against torchvision's own networks."""

import os

import pytest
import safetensors.torch
import torch

from pmsi.base.errors import CheckpointError
from pmsi.base.vision import models
from pmsi.model.backbone import stage_sizes
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
    assert tuple(stage_map.shape[-1] for stage_map in maps) == (32, 16, 8, 4, 2) == stage_sizes(backbone, 64)
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


def test_weights_come_from_safetensors_and_from_a_state_dict_with_or_without_the_classifier(tmp_path, generator):
    torch.manual_seed(1)
    net = models.mobilenet_v2(weights=None).eval()
    state = net.state_dict()
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "w.pth")
    features = {name: value for name, value in state.items() if not name.startswith("classifier")}
    torch.save(features, tmp_path / "features.pt")
    images = torch.randn(1, 3, 64, 64, generator=generator)
    expected = net.features(images)
    for name in ("w.safetensors", "w.pth", "features.pt"):
        row = BACKBONES["mobilenet_v2"]
        backbone = row.make(pretrained_state(row, str(tmp_path / name))).eval()
        torch.testing.assert_close(backbone(images)[-1], expected)


def test_resnet_weights_of_before_batches_were_counted_do(tmp_path, generator):
    """torchvision's own files of the ResNets hold no num_batches_tracked."""
    net, row = models.resnet18(weights=None).eval(), BACKBONES["resnet18"]
    state = {key: value for key, value in net.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    images = torch.randn(1, 3, 64, 64, generator=generator)
    pooled = row.make(pretrained_state(row, str(tmp_path / "old.pth"))).eval()(images)[-1].mean(dim=(2, 3))
    torch.testing.assert_close(net.fc(pooled), net(images))


def test_foreign_damaged_and_missing_weights_are_refused_by_name(tmp_path):
    row = BACKBONES["mobilenet_v2"]
    with pytest.raises(CheckpointError, match="no weights file at"):
        pretrained_state(row, str(tmp_path / "none.pth"))
    (tmp_path / "damaged.safetensors").write_bytes(b"\x00" * 64)
    (tmp_path / "damaged.pth").write_bytes(b"not a zip at all")
    (tmp_path / "letter.pth").write_text("Dear network,\nplease find enclosed no weights.\n")
    (tmp_path / "empty.pth").touch()
    for name in ("damaged.safetensors", "damaged.pth", "letter.pth", "empty.pth"):
        with pytest.raises(CheckpointError, match=r"damaged|more than weights"):
            pretrained_state(row, str(tmp_path / name))
    torch.save(models.resnet18(weights=None).state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match="not those of MobileNetV2"):
        row.make(pretrained_state(row, str(tmp_path / "resnet.pth")))
    for content in ([1, 2], {0: torch.zeros(1)}, {"epoch": 3}):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(CheckpointError, match="not a state dict"):
            pretrained_state(row, str(tmp_path / "other.pth"))


def test_weights_that_are_nobody_s_or_twice_there_are_refused_by_name_and_a_changed_file_looked_at_again(tmp_path):
    row, state, name = BACKBONES["mobilenet_v2"], models.mobilenet_v2(weights=None).state_dict(), "features.1.conv.2"
    path, name = tmp_path / "weights.pt", f"{name}.running_var"
    torch.save(state, path)
    check_weights(row, str(path))
    variance, other = state[name], models.resnet18(weights=None).state_dict()
    for words, wrong in (
        (f"{name} .*not finite", {name: variance.index_fill(0, torch.tensor([0]), torch.nan)}),
        (f"{name} .*int32", {name: variance.int()}),
        (f"{name} .*complex64", {name: variance.to(torch.complex64)}),
        (f"{name} .*below 0", {name: variance - 2}),
        (rf"module\.{name} .*beside {name}", {f"module.{name}": variance}),
        ("not those of MobileNetV2", other | dict.fromkeys(state)),
    ):
        torch.save({key: value for key, value in (state | wrong).items() if value is not None}, path)
        os.utime(path, ns=(0, 0))
        with pytest.raises(CheckpointError, match=words):
            check_weights(row, str(path))


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "tiny"])
def test_a_stem_of_stride_1_makes_every_map_twice_as_large(name, generator):
    backbone = BACKBONES[name].make(None, 1).eval()
    assert stage_sizes(backbone, 64) == (64, 32, 16, 8, 4)
    wide, narrow = BACKBONES[name].make(None).receptive_fields(), backbone.receptive_fields()
    steps = [2 * near - far for far, near in zip(wide, narrow, strict=True)]
    assert len(set(steps)) == 1  # each pixel behind the stem is half as wide as at stride 2
    assert name != "mobilenet_v2" or narrow[2] == 31  # METHOD: below its 56-px patch


class Payload:
    """A pickle that would write a file when opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_file_with_code_in_it_is_never_run(tmp_path):
    torch.save({"state_dict": Payload(tmp_path / "owned")}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="not opened"):
        pretrained_state(BACKBONES["mobilenet_v2"], str(tmp_path / "evil.pth"))
    assert not (tmp_path / "owned").exists()


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
