"""Networks of timm as backbones, against timm's own forward passes and feature extractors; never with a download."""

import importlib
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from pmsi.base.errors import CheckpointError, ConfigError, UnknownName
from pmsi.config import TrainConfig
from pmsi.data.preprocessing import MEAN, STD
from pmsi.engine.checkpoint import Checkpoint
from pmsi.explain.cam import cam
from pmsi.methods import build
from pmsi.model.backbones import BACKBONES, check_stages, check_weights, find_backbone, pretrained_state
from pmsi.model.batch import Phase, Target
from pmsi.model.timm import Renormalize, row
from pmsi.training.optimizer import make_optimizer

timm = importlib.import_module("timm")  # not before pmsi.base.vision, which prepares torchvision for it

# Channels of the features at strides 2 (where there is one), 4, 8, 16 and 32, by the papers' tables.
CHANNELS = {
    "mobilenetv4_conv_small": (32, 32, 64, 96, 960),
    "regnetx_002": (32, 24, 56, 152, 368),
    "convnextv2_atto": (40, 80, 160, 320),
}


@pytest.fixture(scope="module", params=list(CHANNELS))
def network(request):
    """A name, timm's whole classifier with statistics of its own in every norm, and our backbone with its weights."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    whole = timm.create_model(request.param).eval()
    for module in whole.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return request.param, whole, row(request.param).make(whole.state_dict()).eval()


@pytest.fixture
def images(generator):
    return torch.randn(2, 3, 64, 64, generator=generator)


def test_stages_are_timm_s_own_features(network, images):
    name, whole, backbone = network
    features = timm.create_model(name, features_only=True).eval()
    # timm's feature extractor names what it flattens otherwise (stages.0 → stages_0), and keeps the order.
    named = {key.replace("_", "."): key for key in features.state_dict()}
    state = {named.get(key.replace("_", ".")): value for key, value in whole.state_dict().items()}
    features.load_state_dict({key: value for key, value in state.items() if key is not None})
    with torch.no_grad():
        maps = backbone(images)
        for ours, theirs in zip(maps, features(images), strict=True):
            torch.testing.assert_close(ours, theirs)
        for done in range(1, len(maps)):
            for ours, expected in zip(backbone.advance(maps[done - 1], done), maps[done:], strict=True):
                assert torch.equal(ours, expected)
    assert tuple(stage_map.shape[1] for stage_map in maps) == CHANNELS[name] == backbone.channels
    assert [maps[end].shape[-1] for end in backbone.ends[1:]] == [16, 8, 4, 2]


def test_receptive_fields_are_those_of_torchvision_s_networks():
    # S1 ends with the first block, a 3×3 convolution behind the stem; S5 before what widens it for the classifier.
    assert row("mobilenetv2_100").make().receptive_fields() == (7, 19, 59, 267, 491)
    assert row("resnet18").make().receptive_fields() == BACKBONES["resnet18"].make(None).receptive_fields()


def test_after_attention_the_receptive_field_is_unknown():
    assert row("mobilenetv4_hybrid_medium").make().receptive_fields() == (3, 7, 63, None, None)


def test_a_network_without_a_map_at_stride_2_has_four_stages():
    """The stem of ConvNeXt halves twice in one layer: S1 and S2 end there and share a map, so StageNum ends at 4."""
    found = row("convnextv2_atto")
    backbone = found.make().eval()
    assert (found.stages, backbone.ends, len(backbone.pieces)) == (4, (0, 0, 1, 2, 3), 4)
    assert backbone.receptive_fields()[:2] == (4 + 2 * 6 * 4,) * 2  # patches of 4, then two 7×7 at stride 4
    check_stages(found, 4)
    with pytest.raises(ConfigError, match=r"stage_num = 5.*4 or less"):
        check_stages(found, 5)
    check_stages(row("resnet18"), 5)


@pytest.mark.parametrize(("name", "method"), [("mobilenetv4_conv_small", "bcnn"), ("convnextv2_atto", "pmr")])
def test_methods_train_a_step_and_explain(name, method):
    config = TrainConfig(method=method, backbone=f"timm:{name}", weights="none", image_size=64, channels=8, hidden=6)
    model = build(config, 3)
    head = model.heads[0]
    optimizer = make_optimizer(model, config.with_(lr_new=0.1))
    before = [parameter.clone() for parameter in model.parameters()]
    model.loss(torch.rand(4, 3, 64, 64), Target.plain(torch.tensor([0, 1, 2, 0])), Phase(head, 0)).backward()
    optimizer.step()
    moved = [not torch.equal(now, then) for now, then in zip(model.parameters(), before, strict=True)]
    assert sum(moved) > len(moved) // 2
    maps = cam(model.eval(), torch.rand(2, 3, 64, 64), head=head, stages=("S1", "S3", "S5"))
    assert maps.raw["S5"].shape == (2, 2, 2)
    assert all(torch.isfinite(stage_map).all() for stage_map in maps.raw.values())


def test_what_timm_cannot_give_is_refused_by_name():
    config = TrainConfig(backbone="timm:test_resnet", weights="none", image_size=64)
    with pytest.raises(ConfigError, match=r"'hbp'.*test_resnet.*states 1.*mobilenet_v2, resnet18"):
        build(config.with_(method="hbp"), 3)
    with pytest.raises(ConfigError, match=r"stem_stride = 1: test_resnet"):
        build(config.with_(stem_stride=1), 3)


EARLIER = {
    "test_resnet": [
        ("0.1.3.", "1.0.0."),
        ("0.1.4.", "1.0.1."),
        ("0.1.6.", "1.1.0."),
        ("0.2.", "1.1.1."),
        ("1.1.", "1.3."),
    ],
    "regnetx_002": [(f"{piece}.0.b{block + 1}.", f"{piece}.{block}.") for piece in (3, 4) for block in range(7)],
}
"""How names of today begin, behind backbone.pieces, and how versions before features_only began them."""


@pytest.mark.parametrize("name", EARLIER)
def test_the_tensors_of_earlier_versions_find_their_places(name, images):
    config = TrainConfig(backbone=f"timm:{name}", weights="none", image_size=64, channels=8, hidden=6)
    torch.manual_seed(1)
    then, now = build(config, 3).eval(), build(config.with_(seed=1), 3).eval()
    begins = {f"backbone.pieces.{new}": f"backbone.pieces.{old}" for new, old in EARLIER[name]}
    state = {
        next((old + key.removeprefix(new) for new, old in begins.items() if key.startswith(new)), key): value
        for key, value in then.state_dict().items()
    }
    assert state.keys() != now.state_dict().keys()
    stored = dict(sorted(state.items()))  # a file keeps no order
    Checkpoint(stored, {}, {}, Path("last.safetensors")).restore(now)
    assert all(torch.equal(a, b) for a, b in zip(then.state_dict().values(), now.state_dict().values(), strict=True))


def test_a_network_can_be_outlined_without_memory_and_its_dropout_is_timm_s_own():
    """Also one that renormalises."""
    name = "tf_mobilenetv3_small_minimal_100"
    with torch.device("meta"):
        outline, ghost = row(name).make(), row("ghostnet_050").make()
    assert all(parameter.is_meta for parameter in outline.parameters())
    real = row(name).make()
    assert outline.receptive_fields() == real.receptive_fields()
    assert ghost.dropout == timm.create_model("ghostnet_050").drop_rate == 0.2


def test_images_are_renormalised_where_the_weights_expect_it_and_only_there(generator):
    name = "tf_mobilenetv3_small_minimal_100"
    whole = timm.create_model(name).eval()
    assert tuple(whole.pretrained_cfg["mean"]) != MEAN
    backbone = row(name).make(whole.state_dict()).eval()
    pixels = torch.rand(1, 3, 64, 64, generator=generator)
    ours = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        expected = whole.forward_features((pixels - 0.5) / 0.5)
        torch.testing.assert_close(backbone(ours)[-1], expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, Renormalize) for module in row("resnet18").make().modules())


def test_networks_without_such_features_are_refused_with_what_they_have():
    for name, reason in (
        ("test_vit", "strides 16"),
        ("efficientvit_m0", "strides 16, 32, 64"),
        ("swin_tiny_patch4_window7_224", "does not take images"),
        ("test_mambaout", "shapes"),
        ("hrnet_w18_small", "HighResolutionNetFeatures"),
    ):
        with pytest.raises(ConfigError, match=f"{name} cannot be a backbone.*{reason}"):
            find_backbone(f"timm:{name}")


def test_an_unknown_name_is_answered_with_close_ones_and_without_timm_with_how_to_install_it(monkeypatch):
    with pytest.raises(UnknownName, match=r"no network 'mobilenetv4_conv_smal'.*timm:mobilenetv4_conv_small"):
        find_backbone("timm:mobilenetv4_conv_smal")
    for name in ("", "hf-hub:somebody/something", "resnet18.not_a_tag"):
        with pytest.raises(UnknownName, match="no network"):
            find_backbone(f"timm:{name}")
    with pytest.raises(UnknownName, match=r"family of backbones 'tim'.*timm"):
        find_backbone("tim:resnet18")
    with pytest.raises(UnknownName, match=r"'resnet50'.*Or timm:NAME\."):
        find_backbone("resnet50")
    monkeypatch.setitem(sys.modules, "timm", None)
    row.cache_clear()
    with pytest.raises(ConfigError, match="pip install timm"):
        find_backbone("timm:resnet18")


# Weights


def test_weights_come_from_files_with_or_without_the_classifier(tmp_path, images):
    found, whole = row("mobilenetv4_conv_small"), timm.create_model("mobilenetv4_conv_small", num_classes=7).eval()
    state = whole.state_dict()
    bare = {key: value for key, value in state.items() if not key.startswith(("classifier", "conv_head", "norm_head"))}
    safetensors.torch.save_file(state, tmp_path / "whole.safetensors")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "trained.pth")
    torch.save(bare, tmp_path / "bare.pt")
    for name in ("whole.safetensors", "trained.pth", "bare.pt"):
        backbone = found.make(pretrained_state(found, str(tmp_path / name))).eval()
        with torch.no_grad():
            torch.testing.assert_close(backbone(images)[-1], whole.forward_features(images))
    foreign, partial = timm.create_model("test_resnet").state_dict(), dict([*bare.items()][1:])
    for wrong in (foreign, partial):
        torch.save(wrong, tmp_path / "wrong.pth")
        with pytest.raises(CheckpointError, match="not those of timm's mobilenetv4_conv_small"):
            found.make(pretrained_state(found, str(tmp_path / "wrong.pth")))


def test_imagenet_s_weights_are_timm_s_own(monkeypatch, images):
    whole, asked = timm.create_model("resnet18").eval(), []

    def create(name, pretrained=False):
        asked.append((name, pretrained))
        torch.rand(1)  # a network is drawn before its weights come
        return whole

    known = row("resnet18")
    monkeypatch.setattr(timm, "create_model", create)
    state = torch.get_rng_state()
    found = pretrained_state(known, "imagenet")
    assert asked[-1] == ("resnet18", True)
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.undo()
    with torch.no_grad():
        expected = whole.forward_features(images)
        torch.testing.assert_close(row("resnet18").make(found).eval()(images)[-1], expected)


class Offline(Exception):
    """As the errors of some downloaders are: no OSError."""


def test_weights_that_cannot_be_had_say_what_to_do(monkeypatch):
    found, bare = row("mobilenetv4_conv_small"), row("vovnet39a")
    with pytest.raises(CheckpointError, match="Give a file, or choose none"):
        check_weights(bare, "imagenet")
    check_weights(bare, "none")

    def fail(*_, **__):
        raise Offline("Name or service not known")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(CheckpointError, match=r"mobilenetv4_conv_small.*not known.*--weights FILE"):
        pretrained_state(found, "imagenet")
