"""B-CNN and HBP against loops over positions in numpy, and the late maps they pool against torchvision's own layers."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from pmsi.base.vision import models
from pmsi.model.backbone import Backbone
from pmsi.model.backbones import BACKBONES
from pmsi.model.batch import Phase, Target
from pmsi.model.bilinear import BCNN, HBP, signed_sqrt

CLASSES = 3
PHASE = Phase("classifier", 0)


def small_backbone(*last, expansion=()):
    """Five stages of one plain convolution; the last has a late layer of each of these widths, and others behind."""

    def conv(c_in, c_out, stride):
        return nn.Conv2d(c_in, c_out, 3, stride, padding=1)

    widths = (4, *last, *expansion)
    blocks = [conv(a, b, 2 if number == 0 else 1) for number, (a, b) in enumerate(itertools.pairwise(widths))]
    stages = [conv(3, 4, 2), *(conv(4, 4, 2) for _ in range(3)), nn.Sequential(*blocks)]
    return Backbone(stages, (4, 4, 4, 4, widths[-1]), late=dict(enumerate(last)))


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def array(tensor):
    return tensor.detach().double().numpy()


def root_and_length(x):
    """Signed square root, then L2, by their definitions."""
    x = np.sign(x) * np.sqrt(np.abs(x))
    return x / np.sqrt((x**2).sum())


def positions(stage_map):
    """The vectors (c,) of one image's map (c, h, w), one for each position."""
    return [stage_map[:, y, x] for y in range(stage_map.shape[1]) for x in range(stage_map.shape[2])]


def logits_of(classifier, features):
    return array(classifier.weight) @ features + array(classifier.bias)


@pytest.mark.parametrize("training", [True, False])
def test_b_cnn_is_the_sum_of_outer_products(training, generator):
    model = BCNN(small_backbone(6, 5), CLASSES).train(training)
    images = torch.randn(3, 3, 64, 96, generator=generator)
    found = model(images)["classifier"]
    last = model.backbone(images)[-1]
    assert last.shape == (3, 5, 2, 3)
    for i in range(3):
        products = sum(np.outer(x, x) for x in positions(array(last[i])))
        expected = logits_of(model.classifier, root_and_length(products.flatten()))
        np.testing.assert_allclose(array(found[i]), expected, atol=1e-4)


@pytest.mark.parametrize(("widths", "training"), [((6, 5, 7), True), ((6, 5), False), ((9, 6, 5, 7), False)])
def test_hbp_multiplies_late_layers_in_pairs(widths, training, generator):
    model = HBP(small_backbone(*widths), CLASSES, projection=11).train(training)
    images = torch.randn(2, 3, 64, 64, generator=generator)
    found = model(images)["classifier"]
    late = model.backbone(images)[4:]
    assert [stage_map.shape[1] for stage_map in late] == list(widths[-3:])
    for i in range(2):
        projected = [
            [array(conv.weight)[:, :, 0, 0] @ x + array(conv.bias) for x in positions(array(stage_map[i]))]
            for conv, stage_map in zip(model.project, late, strict=True)
        ]
        features = [
            root_and_length(sum(a * b for a, b in zip(first, second, strict=True)))
            for first, second in itertools.combinations(projected, 2)
        ]
        np.testing.assert_allclose(array(found[i]), logits_of(model.classifier, np.concatenate(features)), atol=1e-4)


def test_signed_sqrt_is_numpy_s_and_has_a_finite_slope_at_zero(generator):
    x = torch.randn(50, generator=generator, dtype=torch.float64).requires_grad_()
    found, values = signed_sqrt(x), x.detach().numpy()
    np.testing.assert_allclose(array(found), np.sign(values) * np.sqrt(np.abs(values)), atol=1e-8)
    found.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 1 / (2 * np.sqrt(np.abs(values))), rtol=1e-4)
    near = torch.tensor([0.0, -0.0, 1e-30, -1e-30, 1e-12, -1e-12]).requires_grad_()
    signed_sqrt(near).sum().backward()
    assert torch.isfinite(near.grad).all()


@pytest.mark.parametrize("make", [BCNN, lambda backbone, classes: HBP(backbone, classes, 11)])
def test_maps_of_zeros_and_a_batch_of_one_have_finite_losses_and_gradients(make, generator):
    """A ReLU may leave nothing of an image: then all products are 0, where a square root is steepest."""
    model = make(small_backbone(6, 5, 7), CLASSES)
    with torch.no_grad():
        for layer in [*model.backbone.pieces[4:], *getattr(model, "project", [])]:
            for parameter in layer.parameters():
                parameter.zero_()
    loss = model.loss(torch.randn(1, 3, 64, 64, generator=generator), Target.plain(torch.tensor([1])), PHASE)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def features_under_autocast(model, images):
    """What a model's classifier is given under autocast, and the outputs of its projections, if it has any."""
    given, projected = [], []
    model.classifier.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    for conv in getattr(model, "project", []):
        conv.register_forward_hook(lambda module, inputs, output: projected.append(output))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = model.backbone(images)
        model.classify(maps)
    return given[0], maps, projected


def test_autocast_does_not_lower_the_products(generator):
    images = torch.randn(1, 3, 64, 64, generator=generator)
    given, maps, _ = features_under_autocast(BCNN(small_backbone(6, 5), CLASSES), images)
    assert maps[-1].dtype == torch.bfloat16
    products = sum(np.outer(x, x) for x in positions(array(maps[-1][0])))
    np.testing.assert_allclose(array(given[0]), root_and_length(products.flatten()), atol=1e-4)

    given, _, projected = features_under_autocast(HBP(small_backbone(6, 5, 7), CLASSES, 11), images)
    assert all(layer.dtype == torch.bfloat16 for layer in projected)
    pairs = itertools.combinations([array(layer[0]) for layer in projected], 2)
    expected = np.concatenate([root_and_length((a * b).sum(axis=(1, 2))) for a, b in pairs])
    np.testing.assert_allclose(array(given[0]), expected, atol=1e-4)


def blocks_of(net, name):
    """The modules up to the last stage, and that stage's blocks, as torchvision names them."""
    if name == "mobilenet_v2":
        return net.features[:14], [net.features[i] for i in (14, 15, 16, 17)]
    stem = [net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2, net.layer3]
    return nn.Sequential(*stem), list(net.layer4)


@pytest.mark.parametrize(
    ("name", "taps", "widths"),
    [("mobilenet_v2", 3, [160, 160, 320]), ("resnet18", 3, [512, 512]), ("resnet34", 2, [512, 512])],
)
def test_late_maps_are_those_of_torchvision_s_last_blocks(name, taps, widths, generator):
    net = getattr(models, name)(weights=None).eval()
    whole = BACKBONES[name].make(net.state_dict())
    late = whole.cut_late(taps).eval()
    assert len(whole.late) == BACKBONES[name].late
    images = torch.randn(1, 3, 64, 64, generator=generator)
    early, blocks = blocks_of(net, name)
    x, expected = early(images), []
    for block in blocks:
        x = block(x)
        expected.append(x)
    maps = late(images)
    found = maps[late.ends[-2] + 1 :]
    assert [stage_map.shape[1] for stage_map in found] == widths == list(late.channels[-len(widths) :])
    for ours, theirs in zip(found, expected[-len(widths) :], strict=True):
        torch.testing.assert_close(ours, theirs)
    # The four ends before stay where they were, and S5 ends with the last piece.
    assert late.ends == (0, 1, 2, 3, len(maps) - 1)
    torch.testing.assert_close(maps[late.ends[3]], early(images))
    torch.testing.assert_close(maps[late.ends[4]], expected[-1])


def test_what_stands_behind_the_late_layers_is_left_out(generator):
    whole = small_backbone(6, 5, expansion=(40,))
    images = torch.randn(1, 3, 64, 64, generator=generator)
    for count, channels in ((1, (5,)), (2, (6, 5)), (3, (6, 5))):
        late = whole.cut_late(count)
        assert late.channels == (4, 4, 4, 4, *channels)
        torch.testing.assert_close(late(images)[-1], whole.pieces[-1][:2](whole(images)[3]))
    backbone = BACKBONES["mobilenet_v2"].make(None)
    left_out = {id(parameter) for parameter in backbone.pieces[-1][-1].parameters()}
    assert len(left_out) == 3  # a 1×1 convolution that widens for the usual classifier, and its BatchNorm
    assert not left_out & {id(parameter) for parameter in BCNN(backbone, CLASSES).parameters()}
