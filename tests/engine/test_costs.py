"""Costs are what METHOD and loops over the layers say, on any device, and memory is what torch's allocator reports."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from settled import images_of, settle
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from pmsi.augment import AUGMENTATIONS, Augmentation, none
from pmsi.config import TrainConfig
from pmsi.engine.costs import FIELDS, FlopMeter, MemoryMeter, costs_of, measure
from pmsi.explain import cam
from pmsi.methods import build, outline, resolve
from pmsi.model.batch import Target

PAPER = TrainConfig(batch_size=8)
"""The paper's model at 448 px; the batch changes nothing but the memory of training."""

SMALL = TrainConfig(backbone="tiny", weights="none", image_size=64, channels=8, hidden=6, batch_size=4)
LEAN = SMALL.with_(method="m")
"""One phase, which takes a quarter of the time to measure."""

GIGA, MEGA = 1e9, 1e6


# METHOD's numbers


def test_the_numbers_of_the_paper_s_model():
    """A separable block saves the 3×3 convolutions: k²·h·c against k²·h + h·c at 56², 28² and 14² positions."""
    changes = ({}, {"method": "baseline"}, {"smooth_conv": "separable"})
    model, plain, separable = (costs_of(PAPER.with_(**change), 200) for change in changes)
    backbone_macs = plain.macs_predict - 1280 * 200
    assert model.backbone_parameters == pytest.approx(2.2 * MEGA, abs=0.05 * MEGA)
    assert model.head_parameters == pytest.approx(8.3 * MEGA, abs=0.05 * MEGA)
    assert backbone_macs == pytest.approx(1.2 * GIGA, abs=0.05 * GIGA)
    assert model.macs_predict - backbone_macs == pytest.approx(7.7 * GIGA, abs=0.05 * GIGA)
    # At 224 px an iteration is about 54 Gflop: a quarter of that at 448, as the classifiers are next to nothing.
    assert 2 * model.macs_train / 4 == pytest.approx(54 * GIGA, abs=GIGA)
    h, c = 320, 640
    assert 9 * h * c * 56**2 == pytest.approx(5.8 * GIGA, abs=0.05 * GIGA)  # S3's 3×3 alone
    saved = 9 * h * c - (9 * h + h * c)
    assert model.macs_predict - separable.macs_predict == saved * (56**2 + 28**2 + 14**2)
    assert model.parameters - separable.parameters == 3 * saved


# Multiply-adds, by hand and by torch's own counter


def tiny_convolutions(image_size):
    """k²·c_in·c_out·h·w of each convolution of the tiny network."""
    macs, c_in, side = [], 3, image_size
    for c_out in (16, 32, 48, 80, 128):
        side //= 2
        macs += [9 * c_in * c_out * side**2, 9 * c_out * c_out * side**2]
        c_in = c_out
    return macs


def test_a_prediction_of_the_tiny_network_by_a_loop_over_its_layers():
    c, h, classes = SMALL.channels, SMALL.hidden, 5
    smooth = sum((c_n * h + 9 * h * c) * side**2 for c_n, side in ((48, 8), (80, 4), (128, 2)))
    f_m = 3 * c * h + h * c
    classifiers = 3 * (c * h + h * classes) + (3 * c * h + h * classes)
    expected = sum(tiny_convolutions(64)) + smooth + f_m + classifiers
    assert costs_of(SMALL, classes).macs_predict == expected


def test_training_is_forward_and_the_gradients_of_weights_and_inputs():
    """Each layer's gradients repeat its multiply-adds twice; only the first layer's input needs no gradient."""
    layers = [*tiny_convolutions(64), 128 * 5]
    expected = 3 * sum(layers) - layers[0]
    assert costs_of(SMALL.with_(method="baseline"), 5).macs_train == expected


def steps(config, model, batch):
    """One training iteration, written out."""
    images, target = torch.rand(batch, 3, config.image_size, config.image_size), Target.plain(torch.arange(batch) % 2)
    for phase in resolve(config).phases:
        model.zero_grad(set_to_none=True)
        model.loss(images, target, phase).backward()


@pytest.mark.parametrize("method", ["pmr", "m", "baseline", "bcnn", "hbp", "pc", "api"])
def test_torch_s_own_counter_agrees_where_no_convolution_is_grouped(method):
    """One method for each way to build a model or to make its loss; the others differ in their phases alone."""
    config = SMALL.with_(method=method, batch_size=8)
    model, costs = build(config, 5), costs_of(config, 5)
    with FlopCounterMode(display=False) as counter:
        steps(config, model, 8)
    assert counter.get_total_flops() == 2 * 8 * costs.macs_train
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.rand(1, 3, 64, 64))
    assert counter.get_total_flops() == 2 * costs.macs_predict


def test_the_gradients_of_a_grouped_convolution_are_counted_by_group():
    """k²·c_in·c_out·h·w / groups for the result, and again for each of its two gradients."""
    convolution = nn.Conv2d(8, 16, 3, padding=1, groups=4, bias=False)
    with FlopMeter() as counter:
        convolution(torch.rand(2, 8, 6, 6, requires_grad=True)).sum().backward()
    assert counter.total == 2 * 3 * 2 * (9 * 8 * 16 // 4 * 6 * 6)


def test_an_augmentation_that_attends_costs_a_look_of_the_backbone_in_each_of_its_phases(monkeypatch):
    monkeypatch.setitem(AUGMENTATIONS, "attending", Augmentation("Attending", none, "For this test.", attends=True))
    plain, attending = (costs_of(SMALL.with_(augmentation=name, stage_num=1), 5) for name in ("none", "attending"))
    cells, backbone = 2 * 2, sum(tiny_convolutions(64))
    head = 2 * 2 * 128 * 5  # in both phases; its map is detached, so it has the weights' gradients alone
    assert attending.macs_train - plain.macs_train == backbone + 128 * cells + head
    assert attending.macs_predict == plain.macs_predict


# Memory, by hand and by torch's profiler


def test_the_peak_of_memory_by_hand():
    """Floats held at once: the weights always; the second layer needs its input and its result, the first is gone."""
    first, second, third = (nn.Linear(a, b, bias=False) for a, b in ((10, 30), (30, 50), (50, 1)))
    x = torch.rand(1, 10)
    weights = [layer.weight for layer in (first, second, third)]
    with MemoryMeter([*weights, x]) as meter, torch.no_grad():
        third(second(first(x)).view(1, 50))
    assert meter.peak == 4 * (300 + 1500 + 50 + 10 + 30 + 50)
    assert meter.live == 4 * (300 + 1500 + 50 + 10)


def test_what_backward_needs_is_held_until_then():
    x, weight = torch.rand(10, requires_grad=True), torch.rand(10, requires_grad=True)
    with MemoryMeter([x, weight]) as meter:
        product = (x * weight).exp()  # exp keeps its result, and the product that went into it is gone
        assert meter.live == 4 * (20 + 10)
        product.sum().backward()
        del product
    assert meter.live == 4 * (20 + 20)  # with both gradients


def reported_peak(run):
    """The most that torch's allocator says was held at once on the CPU while ``run()`` ran, in bytes."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    events = (event for event in record.profiler.kineto_results.events() if event.name() == "[memory]")
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


@pytest.mark.parametrize(("method", "backbone"), [("m", "mobilenet_v2"), ("pmr", "tiny"), ("hbp", "tiny")])
def test_the_memory_of_training_is_about_what_torch_s_allocator_reports(method, backbone):
    """Kernels of a CPU may set some aside in addition, so not exactly."""
    config = SMALL.with_(method=method, backbone=backbone, image_size=96, batch_size=8, channels=64, hidden=32)
    model = build(config, 5)
    held = sum(tensor.nbytes for tensor in [*model.parameters(), *model.buffers()])
    momentum = sum(parameter.nbytes for parameter in model.parameters())
    measured = held + momentum + reported_peak(lambda: steps(config, model, 8))
    assert costs_of(config, 5).memory_train == pytest.approx(measured, rel=0.15)


def test_memory_follows_the_batch_the_devices_and_the_momentum():
    costs, more, most = (costs_of(LEAN.with_(batch_size=batch), 5) for batch in (8, 12, 16))
    images = 4 * 4 * 3 * 64 * 64
    assert most.memory_train - more.memory_train == more.memory_train - costs.memory_train > 2 * images
    assert most.memory_predict == costs.memory_predict
    assert costs_of(LEAN.with_(batch_size=16, devices=2), 5) == costs
    without = costs_of(LEAN.with_(batch_size=8, momentum=0.0), 5)
    assert costs.memory_train - without.memory_train == costs.weight_bytes == 4 * costs.parameters


# What a cost depends on

CHANGES = {
    "image_size": 32, "method": "baseline", "backbone": "resnet18", "stem_stride": 1, "stage_num": 2,
    "smooth_conv": "separable", "channels": 10, "hidden": 5, "augmentation": "snapmix", "momentum": 0.0,
    "batch_size": 8, "devices": 2, "heads": "phase",
}  # fmt: skip


def test_each_of_these_fields_changes_the_costs():
    phased = SMALL.with_(stage_num=1)
    before = {config: costs_of(config, 5) for config in (LEAN, phased)}
    for name, value in CHANGES.items():
        config = phased if name in ("augmentation", "heads") else LEAN
        assert costs_of(config.with_(**{name: value}), 5) != before[config], name
    assert {*CHANGES, "projection"} == set(FIELDS)
    few, many = (outline(SMALL.with_(method="hbp", projection=width), 5) for width in (64, 128))
    assert few.classifier.in_features < many.classifier.in_features


def test_no_other_field_changes_the_costs():
    """Switches are turned over and numbers raised, all at once; the names and places of files are nobody's cost."""
    others = {
        about.name: not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value / 2
        for about in dataclasses.fields(LEAN)
        if about.name not in FIELDS and isinstance(value := getattr(LEAN, about.name), (bool, int, float))
    }
    assert {"dropout", "epochs", "confusion", "compile"} <= others.keys()
    assert costs_of(LEAN.with_(**others), 5) == costs_of(LEAN, 5)


# Nothing is computed


@pytest.mark.parametrize(
    ("method", "backbone"), [("m", "mobilenet_v2"), ("pr", "tiny"), ("hbp", "tiny"), ("api", "tiny")]
)
def test_shapes_alone_cost_what_numbers_cost(method, backbone):
    config = SMALL.with_(method=method, backbone=backbone, stage_num=2, smooth_conv="separable", batch_size=8)
    expected, before = measure(build(config, 5), config), torch.get_rng_state()
    assert costs_of(config, 5) == expected
    assert torch.equal(torch.get_rng_state(), before)


def test_other_threads_take_gradients_while_costs_are_counted():
    """torch's own counter hooks the modules of all threads, which then fail in ``autograd.grad``."""
    model = settle(build(SMALL.with_(method="pmr"), 4)).eval().requires_grad_(False)
    images, over, met = images_of(), threading.Event(), []

    def explain():
        while not over.is_set() or not met:
            met.append(cam(model, images).raw["S5"].shape)

    with ThreadPoolExecutor(1) as pool:
        explaining = pool.submit(explain)
        for _ in range(3):
            costs_of(SMALL.with_(method="pmr"), 4)
        over.set()
        explaining.result()
