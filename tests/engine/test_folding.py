"""The folded copy against the model itself: stage maps, logits, gradients and maps, for every method and backbone."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from settled import images_of, settle
from torch import nn

from pmsi.config import TrainConfig
from pmsi.engine import folding
from pmsi.engine.folding import folded
from pmsi.engine.folding.peaks import PeakConv, _Peak
from pmsi.explain import cam
from pmsi.methods import METHODS, build
from pmsi.model.backbone import Backbone
from pmsi.model.baseline import Baseline

STAGES = ("S2", "S3", "S4", "S5")
CLASSES = 5


def built(method="pmr", backbone="tiny", **settings):
    small = TrainConfig(
        method=method, backbone=backbone, weights="none", image_size=64, channels=12, hidden=10, projection=16
    )
    return settle(build(small.with_(**settings), CLASSES))


def assert_close(found, expected, share):
    """Equal up to a share of the largest value."""
    torch.testing.assert_close(found, expected, rtol=0, atol=share * max(float(expected.abs().max()), 1e-9))


def assert_same(model):
    """Compare maps and gradients in float64, where a difference is no rounding, and logits as they are used too."""
    copy, images = folded(model), images_of()
    with torch.no_grad():
        for head, expected in model(images).items():
            assert_close(copy(images)[head], expected, 1e-4)
    model, images, classes = model.double(), images.double(), torch.tensor([1, 3])
    exact = folded(model)
    with torch.no_grad():
        for found, expected in zip(exact.backbone(images), model.backbone(images), strict=True):
            assert_close(found, expected, 1e-9)
    for head in {model.heads[0], model.primary}:
        expected = cam(model, images, head=head, classes=classes, stages=STAGES)
        found = cam(exact, images, head=head, classes=classes, stages=STAGES)
        for stage in STAGES:
            assert_close(found.raw[stage], expected.raw[stage], 1e-6)
    return copy


def norms_of(model):
    return [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    ("method", "backbone", "smooth_conv"),
    [
        ("pmr", "mobilenet_v2", "paper"),
        ("p", "tiny", "separable"),
        ("m", "tiny", "separable"),
        ("baseline", "resnet18", "paper"),
        ("bcnn", "tiny", "paper"),
        ("hbp", "tiny", "paper"),
        ("api", "tiny", "paper"),
    ],
)
def test_every_kind_of_model_answers_and_explains_as_before(method, backbone, smooth_conv):
    """One method for each way to build a model, and each backbone."""
    assert {METHODS[name].build for name in ("pmr", "p", "m", "baseline", "bcnn", "hbp", "api", "pc")} == {
        row.build for row in METHODS.values()
    }, "PC is a baseline with another loss"
    copy = assert_same(built(method, backbone, smooth_conv=smooth_conv))
    assert not norms_of(copy)
    assert sum(isinstance(layer, PeakConv) for layer in copy.modules()) == (3 if hasattr(copy, "smooth") else 0)


def test_a_network_of_timm_too():
    """It has BatchNorm and activation in one layer."""
    model = built(backbone="timm:mobilenetv4_conv_small")
    assert len(norms_of(assert_same(model))) < len(norms_of(model)) / 2


def test_the_model_is_left_alone_and_the_copy_frozen():
    model = built()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        copy = folded(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    assert not any(layer.training for layer in copy.modules())
    assert (copy.heads, copy.primary) == (model.heads, model.primary)
    # Made where gradients were off, and yet it has some; the map of one stage for one class may well be empty.
    images = images_of()[:1].expand(CLASSES, -1, -1, -1)
    assert any(stage.any() for stage in cam(copy, images, classes=torch.arange(CLASSES)).raw.values())


class Twice(nn.Module):
    """A convolution whose output is normalised, and used as it is beside."""

    def __init__(self, c_in, c_out):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(c_in, c_out, 3, 2, 1), nn.BatchNorm2d(c_out)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


def test_what_cannot_be_folded_is_kept_as_it_is():
    model = settle(Baseline(Backbone([Twice(3 if i == 0 else 8, 8) for i in range(5)], (8,) * 5), CLASSES))
    copy = assert_same(model)
    assert len(norms_of(copy)) == 5
    assert not any(parameter.requires_grad for parameter in copy.parameters())


def test_a_stage_map_between_convolution_and_batch_norm_stays_what_it_is():
    pieces = [nn.Conv2d(3, 8, 3, 2, 1)]
    pieces += [
        nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, 2, 1))
        for _ in range(4)
    ]
    model = settle(Baseline(Backbone(pieces, (8,) * 5), CLASSES))
    assert len(norms_of(assert_same(model))) == 4


def test_a_copy_that_would_answer_otherwise_is_not_used(monkeypatch):
    def wrong(model, images):
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.mul_(2)

    monkeypatch.setattr(folding, "fold_norms", wrong)
    model, images = built(), images_of()
    with torch.inference_mode():
        assert_close(folded(model)(images)["mix"], model(images)["mix"], 1e-4)


def gradient_of(function, x, slope):
    x = x.clone().requires_grad_()
    return torch.autograd.grad((function(x) * slope).sum(), x)[0]


@pytest.mark.parametrize(("kernel", "levels"), [((1, 1), 4), ((3, 3), None), ((3, 3), 4), ((1, 5), 1)])
def test_the_sparse_backward_pass_is_that_of_amax_ties_included(kernel, levels):
    """``levels`` makes few different values, so that many maxima are equal; one level is a flat image."""
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(3, 4, 6, 5, generator=generator, dtype=torch.float64)
    weight = torch.randn(7, 4, *kernel, generator=generator, dtype=torch.float64)
    if levels:  # whole numbers, whose sums are exact whatever their order
        x, weight = (x * levels).floor(), (weight * 2).round()
    bias, slope = torch.randn(7, generator=generator).double(), torch.randn(3, 7, generator=generator).double()
    slope[1] = 0
    padding = (kernel[0] // 2, kernel[1] // 2)
    expected = gradient_of(lambda x: nn.functional.conv2d(x, weight, bias, padding=padding).amax((2, 3)), x, slope)
    found = gradient_of(lambda x: _Peak.apply(x, weight, bias), x, slope)
    assert expected.any()
    torch.testing.assert_close(found, expected)
    assert not gradient_of(lambda x: _Peak.apply(x, weight, bias), x, 0 * slope).any()


def test_four_threads_share_a_copy():
    copy = folded(built())
    jobs = [images_of(seed=seed) for seed in range(8)]
    expected = [cam(copy, images).raw for images in jobs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda images: cam(copy, images).raw, jobs * 3))
    for i, raw in enumerate(found):
        for stage, stage_map in raw.items():
            torch.testing.assert_close(stage_map, expected[i % len(jobs)][stage], rtol=1e-5, atol=1e-7)
