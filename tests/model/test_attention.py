"""The attention head: a class activation map by loops, and a classifier that learns without being noticed."""

import dataclasses

import pytest
import small
import torch

from pmsi.augment import AUGMENTATIONS
from pmsi.methods import METHODS, build
from pmsi.model.batch import Phase, Target

SMALL = small.SMALL.with_(image_size=64, dropout=0.0, projection=16)
CLASSES = 5


@pytest.fixture
def images(generator):
    return torch.randn(4, 3, 64, 96, generator=generator)


def attending(method):
    model = build(SMALL.with_(method=method), CLASSES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model.add_attention_head(CLASSES)
    return model


@pytest.mark.parametrize("training", [True, False])
def test_attention_is_the_class_activation_map_of_each_image_s_own_class(images, training):
    model = attending("pmr")
    for _ in range(3):
        model.train()(images)  # running statistics that differ from the batch's
    last = model.eval().backbone(images)[-1]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    labels = torch.tensor([3, 0, 4, 3])
    found = model.train(training).attention(images, labels)
    assert found.shape == (4, 2, 3)
    for i, label in enumerate(labels):
        for y in range(2):
            for x in range(3):
                weights = model.attention_head.weight[label]
                expected = sum(weights[c] * last[i, c, y, x] for c in range(128))
                torch.testing.assert_close(found[i, y, x], expected.detach(), rtol=1e-4, atol=1e-5)
    assert (found < 0).any()
    assert not found.requires_grad
    assert all(module.training == training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def gradients(model, images, phase, target):
    model.zero_grad(set_to_none=True)
    loss = model.loss(images, target, phase)
    loss.backward()
    return loss.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("method", ["pmr", "m", "baseline"])
def test_the_attention_head_learns_and_moves_nothing_else(images, method):
    config = SMALL.with_(method=method)
    target = Target(
        torch.tensor([0, 1, 2, 3]), torch.tensor([4, 4, 1, 3]), torch.full((4,), 0.7), torch.tensor([0.1, 0.5, 0.3, 0])
    )
    for phase in METHODS[method].phases(config):
        loss, expected = gradients(build(config, CLASSES), images, phase, target)
        with_head, found = gradients(attending(method), images, phase, target)
        assert torch.equal(with_head, loss)
        own = {name: found.pop(name) for name in ("attention_head.weight", "attention_head.bias")}
        assert all(gradient.abs().sum() > 0 for gradient in own.values())
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            assert (found[name] is None) == (gradient is None), name
            assert gradient is None or torch.equal(found[name], gradient), name


def test_the_head_s_own_gradient_is_that_of_its_cross_entropy(images):
    model = attending("pmr")
    target = Target.plain(torch.tensor([0, 1, 2, 3]))
    _, found = gradients(model, images, Phase("S3", 3), target)
    pooled = model.backbone(images)[-1].detach().mean(dim=(2, 3))
    p = (pooled @ model.attention_head.weight.T + model.attention_head.bias).softmax(dim=1).detach()
    error = (p - torch.eye(CLASSES)[target.label_a]) / 4  # the slope of a mean cross-entropy
    torch.testing.assert_close(found["attention_head.weight"], error.T @ pooled, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found["attention_head.bias"], error.sum(dim=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["pmr", "pmg"])
def test_the_head_is_there_where_the_augmentation_attends_as_a_new_layer(images, method, monkeypatch):
    row = dataclasses.replace(AUGMENTATIONS["rmg"], attends=True)
    monkeypatch.setitem(AUGMENTATIONS, "watched", row)
    config = SMALL.with_(method=method)
    plain, watched = build(config, CLASSES), build(config.with_(augmentation="watched"), CLASSES)
    assert plain.attention_head is None
    assert watched.attention_head.weight.shape == (CLASSES, 128)
    state = watched.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in plain.state_dict().items())
    assert len(state) == len(plain.state_dict()) + 2
    assert tuple(watched.eval()(images[:1])) == plain.heads
    new = {id(parameter) for parameter in watched.new_parameters()}
    assert {id(parameter) for parameter in watched.attention_head.parameters()} <= new
