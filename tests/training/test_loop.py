"""Algorithm 1 as it runs: the order of phases, what each one sees and changes, and the rates of its steps."""

import math

import pytest
import torch
from learning import Training
from small import SMALL
from torch import nn

from pmsi.augment import AUGMENTATIONS, Augmentation
from pmsi.augment.mosaic import apply, plan
from pmsi.base.seeding import derive
from pmsi.config import TrainConfig
from pmsi.config.presets import PRESETS
from pmsi.data.preprocessing import normalize
from pmsi.methods import build
from pmsi.model.batch import Phase, Target, cross_entropy
from pmsi.runs import Run
from pmsi.training import loop
from pmsi.training.loop import train_batch
from pmsi.training.optimizer import cosine, frozen, make_optimizer, set_learning_rates

SMALL = SMALL.with_(image_size=64, dropout=0.0)


@pytest.fixture
def start(tmp_path, colour_dataset):
    """Return a function that begins a training run of a config on the colours."""
    return lambda config=SMALL: Training(config, colour_dataset, Run.create(tmp_path, config))


def record_phases(trainer):
    """Return the list to which each phase adds what it was shown, and which parameters its step changed."""
    seen, loss, step = [], trainer.model.loss, trainer.optimizer.step

    def noting_loss(images, target, phase, heads=None):
        seen.append({"phase": phase, "images": images.clone(), "target": target, "heads": heads})
        return loss(images, target, phase, heads)

    def noting_step(*args):
        before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
        step(*args)
        after = trainer.model.named_parameters()
        seen[-1]["changed"] = {name for name, parameter in after if not torch.equal(parameter, before[name])}

    trainer.model.loss, trainer.optimizer.step = noting_loss, noting_step
    return seen


def one_batch(trainer):
    batch = next(iter(trainer.loader.epoch(0)))
    trainer.model.train()
    train_batch(trainer.learner, *batch, trainer)
    return batch


def layout_of(phase, r):
    return plan(8, r, generator=torch.Generator().manual_seed(derive("augment", 0, 0, 0, phase)))


def test_each_phase_trains_its_own_head_on_its_own_granularity(start):
    trainer = start(SMALL.with_(heads="phase"))
    seen = record_phases(trainer)
    images, labels = one_batch(trainer)
    assert [(step["phase"].head, step["phase"].r) for step in seen] == [("S3", 3), ("S4", 2), ("S5", 1), ("concat", 0)]
    assert [step["heads"] for step in seen] == [("S3",), ("S4",), ("S5",), ("concat",)]
    raw = normalize(images)
    assert torch.equal(seen[-1]["images"], raw)
    for number, step in enumerate(seen[:-1]):
        assert torch.equal(step["images"], normalize(apply(images, layout_of(number, 3 - number))))
        assert not torch.equal(step["images"], raw)
        assert torch.equal(step["target"].label_a, labels)


def test_each_phase_changes_what_its_output_depends_on_and_nothing_else(start):
    """With interaction every stage matters to every head; classifiers of other phases stay as they are."""
    trainer = start()
    one_batch(trainer)  # momentum buffers are full now, and must not move what a phase does not use
    seen = record_phases(trainer)
    one_batch(trainer)
    for step in seen:
        head = step["phase"].head
        own = "concat." if head == "concat" else f"classifiers.{head}."
        classifiers = {name for name in step["changed"] if name.startswith(("concat.", "classifiers."))}
        assert classifiers
        assert all(name.startswith(own) for name in classifiers)
        for part in ("backbone.pieces.0", "backbone.pieces.4", "smooth.0", "smooth.2", "interaction"):
            assert any(name.startswith(part) for name in step["changed"]), (head, part)


def test_without_interaction_a_phase_reaches_its_own_stage_only(start):
    trainer = start(SMALL.with_(method="pr"))
    seen = record_phases(trainer)
    one_batch(trainer)
    first = seen[0]["changed"]  # S3
    assert any(name.startswith("backbone.pieces.2") for name in first)
    later = ("backbone.pieces.3", "backbone.pieces.4", "smooth.1", "smooth.2")
    assert not any(name.startswith(later) for name in first)


def test_one_batch_equals_algorithm_1_written_out(start):
    """The loop against a plain version: same draws, four forward passes, SGD with momentum by its formula."""
    config = SMALL.with_(momentum=0.9, weight_decay=0.01, dropout=0.5)
    trainer = start(config)
    model = build(config, 4).train()
    velocity = {}
    images, labels = one_batch(trainer)
    for number, phase in enumerate((Phase("S3", 3), Phase("S4", 2), Phase("S5", 1), Phase("concat", 0))):
        torch.manual_seed(derive("dropout", 0, 0, 0, number))
        outputs = model(normalize(apply(images, layout_of(number, phase.r))))
        loss = cross_entropy(outputs[phase.head], Target.plain(labels))
        names, parameters = zip(*model.named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        with torch.no_grad():
            for name, parameter, gradient in zip(names, parameters, gradients, strict=True):
                if gradient is not None:
                    gradient = gradient + 0.01 * parameter
                    velocity[name] = gradient if name not in velocity else 0.9 * velocity[name] + gradient
                    parameter -= 0.05 * velocity[name]
    begun = dict(build(config, 4).named_parameters())
    for (name, ours), expected in zip(trainer.model.named_parameters(), model.parameters(), strict=True):
        # The sums of SGD run in another order; four steps through ReLUs widen that, yet far below what a step moves.
        moved = (expected - begun[name]).norm()
        assert (ours - expected).norm() <= 0.01 * moved + 1e-6, name


def test_nested_phases_share_their_first_recursions(start):
    trainer = start(SMALL.with_(nested=True))
    seen = record_phases(trainer)
    images, _ = one_batch(trainer)
    for step, r in zip(seen, (3, 2, 1, 0), strict=True):
        assert torch.equal(step["images"], normalize(apply(images, layout_of(0, 3).first(r))))


# Rates


def test_the_learning_rates_follow_the_cosine_over_all_batches(start):
    trainer = start()
    total = SMALL.epochs * trainer.loader.batches
    used = []
    step = trainer.optimizer.step
    trainer.optimizer.step = lambda *a: (used.append(trainer.optimizer.param_groups[1]["lr"]), step(*a))[1]
    state = torch.get_rng_state()
    trainer.fit()
    assert torch.equal(state, torch.get_rng_state()), "training draws from generators of its own"
    expected = [0.05 * (1 + math.cos(math.pi * t / total)) / 2 for t in range(total) for _ in range(4)]
    assert used == pytest.approx(expected)
    assert (cosine(0), cosine(1)) == (1, pytest.approx(0))


def test_the_released_schedule_ends_at_99_8_percent_of_its_start():
    """Its period counts images, its steps count batches: of 32 images each, it gets 1/32 of the way."""
    optimizer = torch.optim.SGD([{"params": [torch.zeros(1)], "lr": 1.0, "initial_lr": 1.0}])
    images, batches = 640, 20
    for step in range(0, batches + 1, 5):
        set_learning_rates(optimizer, step / batches, TrainConfig(schedule="released", batch_size=32))
        assert optimizer.param_groups[0]["lr"] == pytest.approx((1 + math.cos(math.pi * step / images)) / 2)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.998, abs=5e-4)


def test_the_released_preset_trains_the_released_code_s_network():
    config = PRESETS["released"].config
    model = build(config.with_(backbone="tiny", weights="none", frozen_epochs=0), 3)
    assert {norm.momentum for norm in model.smooth.modules() if isinstance(norm, nn.BatchNorm2d)} == {0.01}
    assert {norm.momentum for norm in model.backbone.modules() if isinstance(norm, nn.BatchNorm2d)} == {0.1}
    maps = model.backbone.eval()(torch.zeros(1, 3, 64, 64))
    assert [stage_map.shape[-1] for stage_map in maps] == [64, 32, 16, 8, 4]


def test_pretrained_layers_get_their_own_rate_and_are_frozen_first():
    config = SMALL.with_(weights="some.pth", frozen_epochs=2, lr_pretrained=0.01, lr_new=0.1)
    model = build(SMALL, 4)
    optimizer = make_optimizer(model, config)
    set_learning_rates(optimizer, 0, config)
    backbone = {id(parameter) for parameter in model.backbone.parameters()}
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.1]
    assert {id(parameter) for parameter in optimizer.param_groups[0]["params"]} == backbone
    grouped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert len(grouped) == len(set(grouped)) == len(list(model.parameters()))
    assert [frozen(config, epoch) for epoch in range(4)] == [True, True, False, False]
    assert not frozen(SMALL, 0)  # from scratch every layer is new
    assert [group["lr"] for group in make_optimizer(model, SMALL).param_groups] == [0.05, 0.05]


def test_a_frozen_backbone_gets_no_gradient_but_its_batch_norm_moves(start, monkeypatch):
    monkeypatch.setattr(loop, "frozen", lambda config, epoch: True)
    trainer = start(SMALL.with_(epochs=1))
    before = {name: value.clone() for name, value in trainer.model.backbone.state_dict().items()}
    trainer.fit()
    after = trainer.model.backbone.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("running_" in name or "num_batches" in name for name in moved)


# Augmentations


def test_an_augmentation_of_one_s_own_is_one_row(start, monkeypatch):
    def inverted(images, labels, r, generator, config, attention):
        return (255 - images if r else images), Target.plain(labels)

    monkeypatch.setitem(AUGMENTATIONS, "inverted", Augmentation("Inverted", inverted, "Negative picture."))
    trainer = start(SMALL.with_(augmentation="inverted"))
    seen = record_phases(trainer)
    images, _ = one_batch(trainer)
    assert torch.equal(seen[0]["images"], normalize(255 - images))
    assert torch.equal(seen[-1]["images"], normalize(images))


def test_an_augmentation_that_attends_sees_the_raw_batch_as_the_network_does_at_that_moment(start, monkeypatch):
    asked = []

    def watching(images, labels, r, generator, config, attention):
        asked.append((attention(), trainer.model.attention(normalize(images), labels)))
        return images, Target.plain(labels)

    monkeypatch.setitem(AUGMENTATIONS, "watching", Augmentation("Watching", watching, "It looks.", attends=True))
    trainer = start(SMALL.with_(augmentation="watching"))
    one_batch(trainer)
    assert [tuple(seen.shape) for seen, _ in asked] == [(8, 2, 2)] * 4
    assert all(torch.equal(seen, expected) for seen, expected in asked)
    assert not torch.equal(asked[0][0], asked[1][0])  # a phase later the network has learned


# Learning

RECIPES = {
    "pmr": {"epochs": 8},
    "bcnn": {"lr_new": 0.1},  # vectors of length 1 over many products move slowly
    "hbp": {"lr_new": 0.1, "projection": 512},
    "pc": {"lr_new": 0.02, "confusion": 1.0},  # λ = 10 is for hundreds of classes
    "api": {"lr_new": 0.02, "batch_size": 16},  # all four classes in each batch
}
"""What a method needs to learn four colours in a second, where it is not what the others need."""


@pytest.mark.parametrize("method", ["pmr", "m", "baseline", "bcnn", "hbp", "pc", "api"])
def test_every_kind_of_method_learns_the_colours(start, method):
    """The best of some epochs: a single one may be bad, as the test images are few and the rates high."""
    config = SMALL.with_(method=method, image_size=32, epochs=12).with_(**RECIPES.get(method, {}))
    best = start(config).fit()["best"]
    assert best["accuracy"][best["by"]] > 0.6, best  # 3 of 4 colours are 0.75, chance is 0.25
