"""Equations 1 to 6 and 8 against plain loops over their symbols."""

import math

import pytest
import torch
from torch import nn

from pmsi.model.backbones import BACKBONES
from pmsi.model.baseline import Baseline
from pmsi.model.heads import SMOOTH_CONVS, Classifier, MultiStageInteraction, SmoothConv
from pmsi.model.pmsi import PMSI, mix_logits, mix_probabilities


def linear(layer, vector):
    """One linear layer by its definition."""
    return [
        sum(w * v for w, v in zip(row, vector, strict=True)) + b
        for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
    ]


def test_equations_1_to_3_by_loops(generator):
    interaction = MultiStageInteraction(stage_num=3, channels=4, hidden=5, dropout=0.5).double().eval()
    assert [type(layer) for layer in interaction.f_m] == [nn.Linear, nn.Dropout, nn.Linear]
    x = [torch.randn(2, 4, dtype=torch.float64, generator=generator) for _ in range(3)]
    m = interaction(x)
    first, _, second = interaction.f_m
    for image in range(2):
        concatenated = [value for x_n in x for value in x_n[image].tolist()]
        x_m = linear(second, linear(first, concatenated))  # no activation between or after
        for x_n, m_n in zip(x, m, strict=True):
            for c in range(4):
                g = 1 / (1 + math.exp(-x_m[c] * x_n[image, c].item()))
                expected = x_n[image, c].item() * (1 + g)
                assert m_n[image, c].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("variant", SMOOTH_CONVS)
def test_smooth_conv_by_loops(variant, generator):
    """1×1 conv, BN, ReLU, then the spatial convolution, BN, ReLU, and the largest value of each channel."""
    smooth = SmoothConv(3, 4, 5, SMOOTH_CONVS[variant]).double()
    for norm in (layer for layer in smooth.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.running_mean.normal_(generator=generator)
        norm.running_var.uniform_(0.5, 2, generator=generator)
        nn.init.normal_(norm.bias, generator=generator)
    stage_map = torch.randn(2, 3, 6, 7, dtype=torch.float64, generator=generator)
    layers = list(smooth.eval().block)

    def batch_norm(x, norm):
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        return (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]

    def conv3x3(x, weight, groups):
        padded = nn.functional.pad(x, (1, 1, 1, 1))
        out = torch.zeros(x.shape[0], weight.shape[0], *x.shape[2:], dtype=x.dtype)
        for o in range(weight.shape[0]):
            inputs = [o] if groups > 1 else range(x.shape[1])
            for k, i in enumerate(inputs):
                for dy in range(3):
                    for dx in range(3):
                        out[:, o] += weight[o, k, dy, dx] * padded[:, i, dy : dy + x.shape[2], dx : dx + x.shape[3]]
        return out

    hidden = batch_norm(torch.einsum("oi,bihw->bohw", layers[0].weight[:, :, 0, 0], stage_map), layers[1]).clamp(min=0)
    out = conv3x3(hidden, layers[3].weight, layers[3].groups)
    if variant == "separable":
        out = torch.einsum("oi,bihw->bohw", layers[4].weight[:, :, 0, 0], out)
    norm = next(layer for layer in reversed(layers) if isinstance(layer, nn.BatchNorm2d))
    expected = batch_norm(out, norm).clamp(min=0).flatten(2).max(dim=2).values
    torch.testing.assert_close(smooth(stage_map), expected)


def test_the_classifier_is_bn_linear_bn_elu_linear(generator):
    classifier = Classifier(4, 3, 2).double().eval()
    m = torch.randn(2, 4, dtype=torch.float64, generator=generator)
    first_norm, first, second_norm, _, second = classifier.layers
    for norm in (first_norm, second_norm):
        norm.running_mean.normal_(generator=generator)
        norm.running_var.uniform_(0.5, 2, generator=generator)

    def batch_norm(vector, norm):
        statistics = zip(vector, norm.running_mean.tolist(), norm.running_var.tolist(), strict=True)
        return [(v - mean) / math.sqrt(variance + norm.eps) for v, mean, variance in statistics]

    for row, logits in zip(m.tolist(), classifier(m).tolist(), strict=True):
        hidden = batch_norm(linear(first, batch_norm(row, first_norm)), second_norm)
        hidden = [value if value > 0 else math.exp(value) - 1 for value in hidden]
        assert logits == pytest.approx(linear(second, hidden), abs=1e-12)


def tiny_pmsi(stage_num=3, **parts):
    torch.manual_seed(0)
    backbone = BACKBONES["tiny"].make(None)
    return PMSI(backbone, 7, stage_num=stage_num, channels=8, hidden=6, spatial=SMOOTH_CONVS["paper"], **parts).eval()


@pytest.mark.parametrize("stage_num", [1, 3, 5])
def test_outputs_are_those_of_the_last_stages_concat_and_mix(stage_num, generator):
    model = tiny_pmsi(stage_num)
    outputs = model(torch.randn(2, 3, 64, 64, generator=generator))
    stages = [f"S{n}" for n in range(6 - stage_num, 6)]
    assert list(outputs) == list(model.heads) == [*stages, "concat", "mix"]
    assert model.primary == "mix"
    expected = sum(outputs[name] for name in (*stages, "concat")) / (stage_num + 1)  # Eq. 8, on the scale of one
    torch.testing.assert_close(outputs["mix"], expected)
    assert all(logits.shape == (2, 7) for logits in outputs.values())
    alone = tiny_pmsi(stage_num, stage_heads=False)
    assert (alone.heads, alone.primary, len(alone.classifiers)) == (("concat",), "concat", 0)


def test_concat_sees_the_interacted_vectors_in_the_order_of_the_stages(generator):
    model = tiny_pmsi()
    maps = model.backbone(torch.randn(2, 3, 64, 64, generator=generator))
    x = [smooth(stage_map) for smooth, stage_map in zip(model.smooth, maps[2:], strict=True)]
    m = model.interaction(x)
    outputs = model.classify(maps)
    torch.testing.assert_close(outputs["concat"], model.concat(torch.cat(m, dim=1)))  # Eq. 5, 6
    for name, m_n in zip(("S3", "S4", "S5"), m, strict=True):
        torch.testing.assert_close(outputs[name], model.classifiers[name](m_n))  # Eq. 4
    alone = tiny_pmsi(interaction=False)
    x_3 = alone.smooth[0](maps[2])
    torch.testing.assert_close(alone.classify(maps)["S3"], alone.classifiers["S3"](x_3))


def test_heads_that_are_not_asked_for_do_not_run(generator):
    model = tiny_pmsi()
    images = torch.randn(2, 3, 64, 64, generator=generator)
    everything = model(images)
    for head in model.heads:
        only = model(images, [head])
        assert list(only) == [head]
        torch.testing.assert_close(only[head], everything[head])
    called = []
    model.concat.register_forward_hook(lambda *_: called.append("concat"))
    model(images, ["S4"])
    assert not called


def test_mix_of_probabilities_is_the_mean_of_the_softmax_outputs(generator):
    logits = [torch.randn(4, 5, generator=generator) * 3 for _ in range(3)]
    mean = sum(values.softmax(dim=1) for values in logits) / 3
    torch.testing.assert_close(mix_probabilities(logits).softmax(dim=1), mean)
    torch.testing.assert_close(mix_logits(logits), (logits[0] + logits[1] + logits[2]) / 3)


def test_the_baseline_is_the_usual_classifier(generator):
    torch.manual_seed(0)
    model = Baseline(BACKBONES["tiny"].make(None), 7).eval()
    images = torch.randn(2, 3, 64, 64, generator=generator)
    last = model.backbone(images)[-1]
    expected = model.classifier[1](last.flatten(2).mean(dim=2))
    torch.testing.assert_close(model(images)["classifier"], expected)
    assert model.backbone.dropout == 0.0
    assert isinstance(model.classifier[0], nn.Dropout)
