"""What makes a folded copy fast on a CPU, each against the plain sum: fused convolutions, peaks by fewer products.

That the whole copy answers and explains as the model does, stands in tests/explain/test_folded.py.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn import functional

from pmsi import folding
from pmsi.config import TrainConfig
from pmsi.folding import folded, winograd
from pmsi.folding.convolutions import FusedConv, fuse_convolutions
from pmsi.folding.peaks import PeakConv
from pmsi.methods import build

SMALL = TrainConfig(backbone="tiny", weights="none", image_size=64, channels=8, hidden=8)


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def model_of(**settings):
    """A model in eval mode whose BatchNorm has seen noise."""
    torch.manual_seed(1)
    model = build(SMALL.with_(**settings), 5).train()
    with torch.no_grad():
        for seed in range(3):
            model(noise(6, 3, 64, 64, seed=seed))
    return model.eval()


def count(model, kind):
    return sum(isinstance(layer, kind) for layer in model.modules())


@pytest.mark.parametrize("backbone", ["tiny", "mobilenet_v2", "resnet18"])
def test_every_convolution_is_fused_and_no_answer_changes(backbone):
    model = model_of(backbone=backbone)
    faster = folded(model)
    assert count(faster, FusedConv) == count(faster, nn.Conv2d) == count(model, nn.Conv2d)
    images = noise(2, 3, 160, 128, seed=5) * 3  # large enough for tiles at each stage, and to meet ReLU6's ceiling
    assert winograd.fits(model.backbone(images)[2])
    with torch.inference_mode():
        expected, found = model.double()(images.double()), faster(images)
    for head, logits in expected.items():
        assert torch.equal(found[head].argmax(dim=1), logits.argmax(dim=1))
        assert float((found[head] - logits).abs().max()) <= 1e-4 * float(logits.abs().max())


def test_a_row_of_layers_is_fused_where_one_follows_the_other():
    relu, conv = nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)
    row = nn.Sequential(conv, relu, nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU6(), nn.Conv2d(4, 2, 1), nn.Sigmoid())
    row.eval().requires_grad_(False)
    x = noise(2, 4, 9, 7)
    expected = row(x)
    fuse_convolutions(row)
    kinds = [FusedConv, nn.Identity, FusedConv, nn.BatchNorm2d, nn.ReLU6, FusedConv, nn.Sigmoid]
    assert [type(layer) for layer in row] == kinds
    assert torch.allclose(row(x), expected, atol=1e-6)


def test_a_convolution_with_a_gradient_is_the_plain_one():
    conv = nn.Conv2d(3, 4, 3).requires_grad_(False)
    x, slope = noise(2, 3, 8, 8).requires_grad_(), noise(2, 4, 6, 6, seed=1)
    expected = torch.autograd.grad((conv(x).relu() * slope).sum(), x)
    assert torch.equal(torch.autograd.grad((FusedConv(conv, nn.ReLU())(x) * slope).sum(), x)[0], expected[0])


@pytest.mark.parametrize("kind", ["same", "reflect"])
def test_convolutions_that_pad_otherwise_are_left_alone(kind):
    how = {"padding": "same"} if kind == "same" else {"padding": 1, "padding_mode": "reflect"}
    row = nn.Sequential(nn.Conv2d(3, 4, 3, **how), nn.ReLU())
    fuse_convolutions(row)
    assert [type(layer) for layer in row] == [nn.Conv2d, nn.ReLU]


def broken(*_):
    raise AttributeError("no such operator")


@pytest.mark.parametrize("way", [broken, lambda self, x: 2 * self.conv(x)], ids=["missing", "another"])
def test_without_the_operator_a_model_is_folded_and_no_more(monkeypatch, way):
    monkeypatch.setattr(FusedConv, "forward", way)
    faster = folded(model_of())
    assert not count(faster, FusedConv)
    assert not count(faster, nn.BatchNorm2d)
    assert count(faster, PeakConv) == 3
    assert all(layer.transformed is None for layer in faster.modules() if isinstance(layer, PeakConv))


def test_double_precision_is_not_fused():
    assert not count(folded(model_of().double()), FusedConv)


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (2, 5, 16, 12), (3, 4, 7, 18), (40, 2, 9, 5)])
def test_peaks_by_fewer_products_are_those_of_the_plain_sum(shape):
    x, weight = noise(*shape), noise(6, shape[1], 3, 3, seed=1)
    expected = functional.conv2d(x.double(), weight.double(), padding=1).amax(dim=(2, 3))
    found = winograd.peaks(x, winograd.transformed(weight))
    assert found.shape == (shape[0], 6)
    assert float((found - expected).abs().max()) <= 2e-5 * float(expected.abs().max())


def test_every_place_can_be_the_peak():
    """One bright pixel, at each place in turn, and a kernel that only sees the pixel itself."""
    x = torch.eye(7 * 6).view(42, 1, 7, 6)
    weight = torch.zeros(1, 1, 3, 3)
    weight[..., 1, 1] = 1
    assert torch.allclose(winograd.peaks(x, winograd.transformed(weight)), torch.ones(42, 1), atol=1e-5)


def test_small_maps_are_left_to_the_plain_sum():
    assert not winograd.fits(torch.empty(64, 1, 3, 90))
    assert not winograd.fits(torch.empty(1, 1, 8, 8))
    assert winograd.fits(torch.empty(1, 1, 56, 56))


def test_threads_share_a_copy():
    faster = folded(model_of())
    jobs = [noise(4, 3, 64, 64, seed=seed) for seed in range(6)]

    def answer(images):
        with torch.inference_mode():
            return faster(images)["mix"]

    expected = [answer(images) for images in jobs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(answer, jobs * 3))
    assert all(torch.allclose(logits, expected[i % len(jobs)], atol=1e-5) for i, logits in enumerate(found))


def test_a_copy_that_would_answer_otherwise_is_not_used(monkeypatch):
    monkeypatch.setattr(folding, "fold_norms", lambda model, images: model.backbone.apply(_double))
    model = model_of()
    images = noise(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(folded(model)(images)["mix"], model(images)["mix"], atol=1e-4)


def _double(layer):
    if isinstance(layer, nn.Conv2d):
        layer.weight.mul_(2)
        layer.bias = nn.Parameter(torch.ones(layer.out_channels))
