"""What the stages compute: the field of a cell, the gates, evidence and peaks, each against plain code."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from settled import baseline_model, images_of, pmsi_model
from torch import nn

from pmsi.base.errors import ConfigError, UnknownName
from pmsi.explain.stages import GATES, ChannelPeaks, activations, channel_peaks, effective_field, gated, steady
from pmsi.model import BACKBONES
from pmsi.model.baseline import Baseline


def test_a_cell_sees_exactly_the_pixels_that_change_it():
    model = Baseline(BACKBONES["tiny"].make(None), 3).eval()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 0.1)  # nothing cancels, and no ReLU is dead
    images = torch.ones(1, 3, 96, 96)
    found = activations(model, images)
    for stage, row, column in (("S1", 47, 0), ("S3", 0, 11), ("S3", 5, 6), ("S4", 2, 3), ("S5", 1, 1)):
        changed = effective_field(model, images, stage, 2, row, column) > 0
        left, top, right, bottom = found.stages[stage].sees(row, column, 96)
        expected = np.zeros((96, 96), dtype=bool)
        expected[top:bottom, left:right] = True
        assert np.array_equal(changed, expected), stage


def plain(model, images, gate):
    """The logits of every head, gates computed one number at a time; ``gate`` stands in for all of them."""
    maps = model.backbone(images)
    x = [smooth(one)[0].tolist() for smooth, one in zip(model.smooth, maps[-3:], strict=True)]
    x_m = model.interaction.f_m(torch.tensor([[*itertools.chain(*x)]], dtype=images.dtype))[0].tolist()
    sigmoid = lambda a: 1 / (1 + math.exp(-a))  # noqa: E731
    m = [
        [
            value + (sigmoid(mixed * value) if gate is None else gate) * value
            for mixed, value in zip(x_m, x_n, strict=True)
        ]
        for x_n in x
    ]
    m = [torch.tensor([m_n], dtype=images.dtype) for m_n in m]
    logits = {name: model.classifiers[name](m_n) for name, m_n in zip(model.stages, m, strict=True)}
    logits["concat"] = model.concat(torch.cat(m, dim=1))
    return logits | {"mix": sum(logits.values()) / 4}, x, x_m


@torch.no_grad()
def test_answers_with_the_interaction_and_without_are_those_of_a_plain_loop():
    model, images = pmsi_model("tiny"), images_of()[:1]
    found = activations(model, images)
    assert list(found.outputs) == list(GATES)
    for name, gate in {"on": None, "half": 0.5, "off": 0.0}.items():
        expected, x, x_m = plain(model, images, gate)
        for head, logits in expected.items():
            torch.testing.assert_close(found.outputs[name][head], logits[0].float(), rtol=1e-3, atol=1e-3)
    for stage, x_n in zip(("S3", "S4", "S5"), x, strict=True):
        of = found.interaction
        np.testing.assert_allclose(of.x[stage], x_n, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(of.m[stage], of.x[stage] * (1 + of.g[stage]), rtol=1e-5)
    np.testing.assert_allclose(of.x_m, x_m, rtol=1e-3, atol=1e-4)
    apart = [float((found.outputs["on"]["S4"] - found.outputs[name]["S4"]).abs().max()) for name in ("half", "off")]
    assert min(apart) > 0.01
    every = gated(model, images_of(3))
    np.testing.assert_allclose(every.g["S4"][0], of.g["S4"], rtol=1e-3, atol=1e-4)
    first = {gate: {head: int(one.argmax()) for head, one in heads.items()} for gate, heads in found.outputs.items()}
    assert {gate: {head: labels[0] for head, labels in heads.items()} for gate, heads in every.answers.items()} == first
    twice = [(int(label), int(label) + 1) for label in every.answers["off"]["S3"]]
    assert [every.right(labels)["off"]["S3"] for labels in zip(*twice, strict=True)] == [3, 0]
    assert steady(np.array([[0.95, 0.95, 0.01, 0.5], [1.0, 0.05, 0.02, 0.5]])) == 2
    without = activations(baseline_model("tiny"), images)
    assert (without.interaction, list(without.outputs)) == (None, ["on"])


@torch.no_grad()
def test_evidence_is_how_the_score_follows_a_channel():
    model, images = copy.deepcopy(pmsi_model("tiny")).double(), images_of()[:1].double()
    found, step = activations(model, images, head="S5", label=1), 1e-6
    maps = model.backbone(images)
    for channel in found.stages["S5"].strongest(3, "evidence"):
        louder = maps[-1].clone()
        louder[:, channel] *= 1 + step
        change = model.classify([*maps[:-1], louder])["S5"] - model.classify(maps)["S5"]
        assert float(change[0, 1]) / step == pytest.approx(found.stages["S5"].evidence[channel], rel=1e-3)


@torch.no_grad()
def test_the_strongest_images_of_a_channel_are_those_of_a_search_one_by_one():
    model, images = pmsi_model("tiny"), torch.randn(7, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    peaks = ChannelPeaks.joined([channel_peaks(model, images[:3]), channel_peaks(model, images[3:])])
    for stage, channel in (("S1", 0), ("S4", 5), ("S5", 7)):
        values = [model.backbone(image[None])[int(stage[1]) - 1][0, channel] for image in images]
        best = sorted(range(7), key=lambda i: -float(values[i].max()))[:4]
        found = peaks.strongest(stage, channel, 4)
        assert [peak.image for peak in found] == best
        for peak in found:
            assert float(values[peak.image][peak.row, peak.column]) == pytest.approx(peak.value, rel=1e-4)
            assert peak.value == pytest.approx(float(values[peak.image].max()), rel=1e-4)


def test_what_does_not_exist_is_refused():
    found = activations(baseline_model("tiny"), images_of()[:1])
    with pytest.raises(ConfigError, match="0 to 127"):
        found.stages["S5"].channel(128)
    with pytest.raises(UnknownName):
        found.stages["S5"].strongest(3, "size")
