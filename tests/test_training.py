"""Algorithm 1 as it runs: the order of phases, what each one sees and changes, the recipe, resuming, and failing."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import nn

from pmsi import tasks
from pmsi.augment import AUGMENTATIONS, Augmentation
from pmsi.augment.mosaic import apply, plan
from pmsi.base.errors import ConfigError, TrainingError
from pmsi.base.seeding import derive
from pmsi.config import TrainConfig
from pmsi.config.presets import PRESETS
from pmsi.data.loading import TrainLoader
from pmsi.data.preprocessing import normalize
from pmsi.engine.checkpoint import CHECKPOINT, load_checkpoint
from pmsi.methods import METHODS, build
from pmsi.model.backbone import stage_sizes
from pmsi.model.batch import Phase, Target, cross_entropy
from pmsi.runs import Run, State, Stopped
from pmsi.training import loop
from pmsi.training.loop import train_batch
from pmsi.training.optimizer import cosine, frozen, make_optimizer, set_learning_rates
from pmsi.training.progress import Progress
from pmsi.training.session import Training

SMALL = TrainConfig(
    backbone="tiny",
    weights="none",
    image_size=64,
    epochs=2,
    batch_size=8,
    channels=8,
    hidden=6,
    dropout=0.0,
    lr_new=0.05,
)


@pytest.fixture
def start(tmp_path, colour_dataset):
    """Return a function that begins a training run of a config on the colours."""

    def begin(config=SMALL, run=None):
        run = run or Run.create(tmp_path, config)
        return Training(config, colour_dataset, run)

    return begin


def record_losses(trainer):
    """Let a training run note, for each phase, the phase, what it was shown and the parameters before and after."""
    seen, loss, step = [], trainer.model.loss, trainer.optimizer.step

    def noting_loss(images, target, phase, heads=None):
        weights = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
        seen.append({"phase": phase, "images": images.clone(), "target": target, "before": weights, "heads": heads})
        return loss(images, target, phase, heads)

    def noting_step(*args):
        step(*args)
        seen[-1]["changed"] = {
            name
            for name, parameter in trainer.model.named_parameters()
            if not torch.equal(parameter, seen[-1]["before"][name])
        }

    trainer.model.loss, trainer.optimizer.step = noting_loss, noting_step
    return seen


def one_batch(trainer):
    batch = next(iter(trainer.loader.epoch(0)))
    trainer.model.train()
    train_batch(trainer.learner, *batch, trainer)
    return batch


def test_each_phase_trains_its_own_head_on_its_own_granularity(start):
    trainer = start()
    seen = record_losses(trainer)
    images, labels = one_batch(trainer)
    assert [(step["phase"].head, step["phase"].r) for step in seen] == [("S3", 3), ("S4", 2), ("S5", 1), ("concat", 0)]
    raw = normalize(images)
    assert torch.equal(seen[-1]["images"], raw)
    for number, step in enumerate(seen[:-1]):
        draw = torch.Generator().manual_seed(derive("augment", 0, 0, 0, number))
        expected = normalize(apply(images, plan(8, 3 - number, generator=draw)))
        assert torch.equal(step["images"], expected)
        assert not torch.equal(step["images"], raw)
        assert torch.equal(step["target"].label_a, labels)


def test_each_phase_changes_what_its_output_depends_on_and_nothing_else(start):
    """With interaction every stage matters to every head; classifiers of other phases stay as they are."""
    trainer = start()
    seen = record_losses(trainer)
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
    seen = record_losses(trainer)
    one_batch(trainer)
    first = seen[0]["changed"]  # S3
    assert any(name.startswith("backbone.pieces.2") for name in first)
    assert not any(
        name.startswith(("backbone.pieces.3", "backbone.pieces.4", "smooth.1", "smooth.2")) for name in first
    )


def test_unused_heads_do_not_drift_by_momentum_or_weight_decay(start):
    """With zeros instead of None, momentum and weight decay would move heads in phases that do not use them."""
    trainer = start()
    one_batch(trainer)  # momentum buffers are full now
    seen = record_losses(trainer)
    one_batch(trainer)
    assert not any(name.startswith("classifiers.S4") for name in seen[0]["changed"])


def test_one_batch_equals_algorithm_1_written_out(start):
    """The loop against a plain version: same layouts, four forward passes, SGD with momentum by its formula."""
    config = SMALL.with_(momentum=0.9, weight_decay=0.01)
    trainer = start(config)
    model = build(config, 4).train()
    velocity = {}
    images, labels = one_batch(trainer)
    for number, phase in enumerate((Phase("S3", 3), Phase("S4", 2), Phase("S5", 1), Phase("concat", 0))):
        draw = torch.Generator().manual_seed(derive("augment", 0, 0, 0, number))
        outputs = model(normalize(apply(images, plan(8, phase.r, generator=draw))))
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


def test_only_the_phase_s_classifier_runs_where_asked(start):
    trainer = start(SMALL.with_(heads="phase"))
    seen = record_losses(trainer)
    one_batch(trainer)
    assert [step["heads"] for step in seen] == [("S3",), ("S4",), ("S5",), ("concat",)]


def test_nested_phases_share_their_first_recursions(start):
    trainer = start(SMALL.with_(nested=True))
    seen = record_losses(trainer)
    images, _ = one_batch(trainer)
    layout = plan(8, 3, generator=torch.Generator().manual_seed(derive("augment", 0, 0, 0, 0)))
    for step, r in zip(seen, (3, 2, 1, 0), strict=True):
        assert torch.equal(step["images"], normalize(apply(images, layout.first(r))))


def test_the_learning_rates_follow_the_cosine_over_all_batches(start):
    trainer = start()
    total = SMALL.epochs * trainer.loader.batches
    used = []
    step = trainer.optimizer.step
    trainer.optimizer.step = lambda *a: (used.append(trainer.optimizer.param_groups[1]["lr"]), step(*a))[1]
    trainer.fit()
    expected = [0.05 * (1 + math.cos(math.pi * t / total)) / 2 for t in range(total) for _ in range(4)]
    assert used == pytest.approx(expected)
    assert cosine(0) == 1
    assert cosine(1) == pytest.approx(0)


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
    assert config.to_dict() | {"stem_stride": 2, "bn_momentum": 0.1, "schedule": "cosine"} != config.to_dict()
    model = build(config.with_(backbone="tiny", weights="none", frozen_epochs=0), 3)
    assert {norm.momentum for norm in model.smooth.modules() if isinstance(norm, nn.BatchNorm2d)} == {0.01}
    assert {norm.momentum for norm in model.backbone.modules() if isinstance(norm, nn.BatchNorm2d)} == {0.1}
    assert stage_sizes(model.backbone, 64) == (64, 32, 16, 8, 4)


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
    monkeypatch.setattr(loop, "frozen", lambda config, epoch: epoch < 1)
    trainer = start(SMALL.with_(epochs=1))
    before = {name: value.clone() for name, value in trainer.model.backbone.state_dict().items()}
    trainer.fit()
    after = trainer.model.backbone.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("running_" in name or "num_batches" in name for name in moved)


RECIPES = {
    "bcnn": {"lr_new": 0.1, "epochs": 12},  # vectors of length 1 over many products move slowly
    "hbp": {"lr_new": 0.1, "epochs": 12, "projection": 512},
    "pc": {"lr_new": 0.02, "confusion": 1.0},  # λ = 10 is for hundreds of classes
    "api": {"lr_new": 0.02, "epochs": 12, "batch_size": 16},  # all four classes in each batch
}
"""What a method needs to learn four colours in a second, where it is not what the others need."""


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_the_colours(start, method):
    result = start(SMALL.with_(method=method, **{"epochs": 12} | RECIPES.get(method, {}))).fit()
    heads = result["last"]["accuracy"]
    assert heads[result["best"]["by"]] >= 0.75, heads  # chance is 0.25


def test_the_result_tells_last_from_best_and_metrics_hold_every_head(start):
    trainer = start(SMALL.with_(epochs=3))
    result = trainer.fit()
    epochs = [record for record in trainer.run.metrics() if record["kind"] == "epoch"]
    assert [record["epoch"] for record in epochs] == [1, 2, 3]
    assert all(set(record["accuracy"]) == {"S3", "S4", "S5", "concat", "mix"} for record in epochs)
    assert result["last"] == {"epoch": 3, "accuracy": epochs[-1]["accuracy"]}
    best = max(record["accuracy"]["mix"] for record in epochs)
    assert result["best"]["accuracy"]["mix"] == best
    assert result["best"]["by"] == "mix"
    losses = [record for record in trainer.run.metrics() if record["kind"] == "loss"]
    assert set(losses[0]["losses"]) == {"S3", "S4", "S5", "concat"}
    assert losses[-1]["epoch"] == 3


def final_weights(run):
    return load_checkpoint(run.checkpoints / CHECKPOINT).model


def without_times(records):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


PHASES = 4
"""Of pmr in each batch; SMALL has four batches in an epoch."""


def stop_after(trainer, phases):
    """Ask for a stop during a phase, the given one from here; return the list to which each phase adds its place."""
    places, after_phase = [], trainer.after_phase

    def stopping(phase, loss):
        at = trainer.progress
        places.append((at.epoch, at.batch, at.phase))
        if len(places) == phases:
            (trainer.run.folder / "stop").touch()
        after_phase(phase, loss)

    trainer.after_phase = stopping
    return places


def assert_same_run(run, whole):
    ours, expected = (load_checkpoint(each.checkpoints / CHECKPOINT) for each in (run, whole))
    assert ours.model.keys() == expected.model.keys()
    assert all(torch.equal(ours.model[name], expected.model[name]) for name in expected.model)
    momenta = expected.optimizer["state"]
    assert ours.optimizer["state"].keys() == momenta.keys()
    for index, slots in momenta.items():
        assert torch.equal(ours.optimizer["state"][index]["momentum_buffer"], slots["momentum_buffer"])
    assert without_times(run.metrics()) == without_times(whole.metrics())


@pytest.fixture(scope="module")
def undisturbed_runs():
    return {}


@pytest.fixture
def whole(start, undisturbed_runs):
    """Return a function that gives the undisturbed run of a config; each is made once."""

    def undisturbed(config):
        if config not in undisturbed_runs:
            trainer = start(config)
            trainer.fit()
            undisturbed_runs[config] = trainer.run
        return undisturbed_runs[config]

    return undisturbed


@pytest.mark.parametrize(
    ("method", "augmentation", "stop_at"),
    [
        ("pmr", "rmg", PHASES),  # between two batches
        ("pmr", "rmg", 4 * PHASES),  # between two epochs
        ("pmr", "rmg", 6 * PHASES + 3),
        ("pmr", "snapmix", 6),  # its maps are those of the model's attention head
        ("api", "none", 6),  # its batches are balanced
    ],
)
def test_a_run_stopped_after_any_phase_resumes_to_the_same_bits(start, whole, method, augmentation, stop_at):
    config = SMALL.with_(method=method, augmentation=augmentation, dropout=0.5)
    broken = start(config)
    stop_after(broken, stop_at)
    with pytest.raises(Stopped):
        broken.fit()
    (broken.run.folder / "stop").unlink()
    resumed = start(config, broken.run)
    torch.rand(7)  # the state of the global generator does not matter
    resumed.fit()
    assert_same_run(broken.run, whole(config))


def test_a_run_stopped_after_every_phase_comes_to_the_same_bits(start, whole, tmp_path):
    config = SMALL.with_(epochs=1, dropout=0.5, nested=True)
    run, places = Run.create(tmp_path, config), []
    for _ in range(4 * PHASES):
        trainer = start(config, run)
        found = stop_after(trainer, 1)
        with pytest.raises(Stopped):
            trainer.fit()
        (run.folder / "stop").unlink()
        places += found
    start(config, run).fit()
    assert places == [(0, batch, phase) for batch in range(4) for phase in range(PHASES)]
    assert_same_run(run, whole(config))


def test_a_checkpoint_of_an_earlier_version_lies_between_two_batches(start, whole, monkeypatch):
    config = SMALL.with_(dropout=0.5)
    broken = start(config)
    stop_after(broken, 2 * PHASES)
    places = Progress.to_json
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "to_json", lambda self: {k: v for k, v in places(self).items() if k != "phase"})
        with pytest.raises(Stopped):
            broken.fit()
    (broken.run.folder / "stop").unlink()
    assert "phase" not in load_checkpoint(broken.run.checkpoints / CHECKPOINT).about
    start(config, broken.run).fit()
    assert_same_run(broken.run, whole(config))


def test_a_resumed_run_lays_its_momentum_out_as_its_weights(start):
    trainer = start(SMALL.with_(epochs=1))
    trainer.fit()
    resumed = start(SMALL.with_(epochs=1), trainer.run)
    expected, found = trainer.optimizer.state, resumed.optimizer.state
    parameters = list(zip(trainer.model.parameters(), resumed.model.parameters(), strict=True))
    assert any(parameter.stride() != parameter.contiguous().stride() for parameter, _ in parameters)
    for before, after in parameters:
        assert torch.equal(found[after]["momentum_buffer"], expected[before]["momentum_buffer"])
        assert found[after]["momentum_buffer"].stride() == after.stride() == before.stride()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("red", "blue", "green", "yellow")}, "classes have changed"),
        ({"train": slice(31)}, "began with 32 training images, and now there are 31: colours has changed"),
    ],
)
def test_a_run_does_not_go_on_with_other_data(start, colour_dataset, change, message):
    trainer = start(SMALL.with_(epochs=1))
    trainer.fit()
    if "train" in change:
        change = {"train": colour_dataset.train[change["train"]]}
    with pytest.raises(TrainingError, match=message):
        Training(SMALL, replace(colour_dataset, **change), trainer.run)


def test_a_run_killed_between_checkpoints_repeats_what_was_lost(start):
    whole = start()
    whole.fit()
    killed = start()
    save, saves = killed._save, []

    def save_once():
        if saves:
            raise SystemExit("killed before the second checkpoint")
        saves.append(save())

    killed._save = save_once
    with pytest.raises(SystemExit):
        killed.fit()
    start(SMALL, killed.run).fit()
    ours, expected = final_weights(killed.run), final_weights(whole.run)
    assert all(torch.equal(ours[name], expected[name]) for name in expected)
    assert without_times(killed.run.metrics()) == without_times(whole.run.metrics())


def test_the_answer_does_not_depend_on_the_number_of_workers(start):
    one, two = start(), start(SMALL.with_(workers=2))
    one.fit()
    two.fit()
    pairs = zip(final_weights(one.run).values(), final_weights(two.run).values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_training_leaves_the_global_generator_alone(start):
    trainer = start(SMALL.with_(epochs=1))
    state = torch.get_rng_state()
    trainer.fit()
    assert torch.equal(state, torch.get_rng_state())


def test_a_loss_that_is_not_finite_ends_the_run_with_advice_and_spares_the_checkpoint(start):
    trainer = start()
    trainer.fit()
    good = final_weights(trainer.run)
    diverged = start(SMALL, trainer.run)
    diverged.config = diverged.learner.config = SMALL.with_(epochs=3)
    with torch.no_grad():
        diverged.model.concat.layers[-1].weight.fill_(float("inf"))
    with pytest.raises(TrainingError, match=r"phase concat is (nan|inf) in epoch 3.*Lower lr_new \(now 0.05\)"):
        diverged.fit()
    assert all(torch.equal(a, b) for a, b in zip(final_weights(trainer.run).values(), good.values(), strict=True))


def test_a_batch_larger_than_the_data_is_refused(colour_dataset):
    with pytest.raises(ConfigError, match=r"batch_size = 64.*only 32 training images"):
        TrainLoader(colour_dataset, SMALL.with_(batch_size=64))


def test_a_method_that_compares_images_of_a_class_is_given_them(start):
    trainer = start(SMALL.with_(method="api"))
    for _, labels in trainer.loader.epoch(0):
        assert sorted(labels.bincount(minlength=4).tolist()) == [0, 0, 4, 4]


def test_data_without_the_pairs_that_a_method_compares_is_refused_before_training(colour_dataset, tmp_path):
    config = SMALL.with_(method="api", batch_size=24)
    run = Run.create(tmp_path, config)
    with pytest.raises(ConfigError, match="asks for 6 classes in a batch, but only 4 have training images"):
        Training(config, colour_dataset, run)
    assert not run.metrics()
    assert not (run.checkpoints / CHECKPOINT).exists()


def test_an_augmentation_of_one_s_own_is_one_row(start, monkeypatch):
    def inverted(images, labels, r, generator, config, attention):
        return (255 - images if r else images), Target.plain(labels)

    monkeypatch.setitem(AUGMENTATIONS, "inverted", Augmentation("Inverted", inverted, "Negative picture."))
    trainer = start(SMALL.with_(augmentation="inverted"))
    seen = record_losses(trainer)
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


@pytest.mark.usefixtures("cache_folder")
def test_a_run_can_be_stopped_while_its_images_are_checked(tmp_path, monkeypatch):
    for split, name, i in itertools.product(("train", "test"), ("rose", "daisy"), range(4)):
        path = tmp_path / "flowers" / split / name / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 10), "teal").save(path)
    run = Run.create(tmp_path / "runs", SMALL.with_(dataset="folder", data=str(tmp_path / "flowers"), epochs=1))
    seen, progress = [], Run.progress

    def stopping(self, done, total, text):
        seen.append((done, total, text))
        progress(self, done, total, text)
        if done == 3:
            (self.folder / "stop").touch()

    with monkeypatch.context() as patch:
        patch.setattr(Run, "progress", stopping)
        assert tasks.execute(run) is State.STOPPED
    assert seen == [(done, 16, "checking the images") for done in (1, 2, 3)]
    assert not (run.checkpoints / CHECKPOINT).exists()
    assert tasks.execute(run) is State.FINISHED, run.status().error


def test_the_whole_task_on_plumage(tmp_path, tiny_config):
    run = Run.create(tmp_path, tiny_config)
    assert tasks.execute(run) is State.FINISHED, run.status().error
    result = run.result()
    assert result["train_images"] == 24
    assert len(result["classes"]) == 12
    assert (run.folder / "predictions.json").exists()
    assert run.status().done == run.status().total
