"""Algorithm 1 as it runs: the order of phases, what each one sees and changes, the recipe, resuming, and failing."""

import itertools
import math
from dataclasses import replace

import jaxtyping
import pytest
import torch
from PIL import Image
from torch import nn

from pmsi import abandoning, jobs, training
from pmsi.augment import AUGMENTATIONS, Augmentation
from pmsi.augment.mosaic import apply, plan
from pmsi.batch import Phase, Target, cross_entropy
from pmsi.checkpoints import CHECKPOINT, load_checkpoint
from pmsi.config import TrainConfig
from pmsi.data.loading import TrainLoader
from pmsi.data.preprocessing import normalize
from pmsi.errors import ConfigError, TrainingError
from pmsi.methods import METHODS, build
from pmsi.model.backbone import stage_sizes
from pmsi.optimization import cosine, frozen, make_optimizer, set_learning_rates
from pmsi.parallel import Team
from pmsi.presets import PRESETS
from pmsi.progress import Progress
from pmsi.runs import Run, State, Stopped
from pmsi.seeding import derive
from pmsi.training import Training

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
    trainer._train_batch(batch, 0)
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
    monkeypatch.setattr(training, "frozen", lambda config, epoch: epoch < 1)
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
    result = start(SMALL.with_(method=method, **{"epochs": 6} | RECIPES.get(method, {}))).fit()
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
    """Ask for a stop within a short phase, as so manieth; return the list to which each phase adds its place."""
    places, train_phase = [], trainer._train_phase
    trainer.abandonable.places = ()  # a phase so short is not given up

    def stopping(*args):
        if len(places) == phases - 1:
            (trainer.run.folder / "stop").touch()
        places.append((trainer.progress.epoch, trainer.progress.batch, trainer.progress.phase))
        train_phase(*args)

    trainer._train_phase = stopping
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


@pytest.mark.parametrize("phase", range(1, PHASES + 1))
def test_a_stop_waits_for_the_end_of_a_short_phase(start, phase):
    """The one that runs is finished, and no other of the batch begins."""
    trainer = start()
    places = stop_after(trainer, PHASES + phase)
    with pytest.raises(Stopped):
        trainer.fit()
    assert len(places) == PHASES + phase
    about = load_checkpoint(trainer.run.checkpoints / CHECKPOINT).about
    assert (about["epoch"], about["batch"], about["phase"]) == (0, *divmod(PHASES + phase, PHASES))


@pytest.mark.parametrize(
    ("method", "augmentation", "stop_at"),
    [
        *(("pmr", "rmg", phases) for phases in range(1, 4 * PHASES + 1)),  # everywhere in an epoch
        ("pmr", "rmg", 5 * PHASES),
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


class Asked(Run):
    """A run that is asked to stop as soon as ``wish`` says so, and stays asked."""

    wish = staticmethod(lambda: False)
    asked = False

    @property
    def stop_requested(self):
        self.asked = self.asked or self.wish()
        return self.asked


@pytest.fixture
def looks_everywhere(monkeypatch):
    """Look for a stop at each layer, however short a phase is."""
    monkeypatch.setattr(abandoning, "POLL_S", 0.0)
    monkeypatch.setattr(abandoning, "LONG_S", 0.0)


def note_looks(trainer):
    """Return the list to which each look for a stop adds where it is: epoch, batch, phase, and in which part of it."""
    looks, part = [], ["between"]
    train_phase, objective, test = trainer._train_phase, trainer.objective, trainer._test

    def within(name, work):
        def working(*args):
            part.append(name)
            try:
                return work(*args)
            finally:
                part.pop()

        return working

    def forward(*args):
        loss = within("forward", objective)(*args)
        part[-1] = "backward"
        return loss

    def look():
        at = trainer.progress
        looks.append((at.epoch, at.batch, at.phase, part[-1]))
        return False

    trainer._train_phase, trainer.objective = within("before", train_phase), forward
    trainer._test = within("test", test)
    trainer.run.wish = look
    return looks


def stop_at(trainer, place, layer):
    """Ask for a stop at a layer, counted from 0 in the order of the looks, within a part of a phase."""
    looks = note_looks(trainer)
    look = trainer.run.wish
    trainer.run.wish = lambda: look() or looks.count(place) > layer
    return looks


def interrupted(start, config, run, place, layer):
    """Train until a stop at this place, and return what the checkpoint says of its own."""
    trainer = start(config, Asked(run.folder))
    looks = stop_at(trainer, place, layer)
    with pytest.raises(Stopped):
        trainer.fit()
    assert looks[-1] == place
    about = load_checkpoint(run.checkpoints / CHECKPOINT).about
    return about["epoch"], about["batch"], about["phase"]


@pytest.mark.usefixtures("looks_everywhere")
@pytest.mark.parametrize(
    ("changes", "place", "layer"),
    [
        ({}, (0, 0, 0, "forward"), 0),  # the first layer of all
        ({}, (0, 0, 0, "backward"), 20),
        *(({}, (0, 2, phase, part), 20) for phase in range(PHASES) for part in ("forward", "backward")),
        ({}, (1, 3, 3, "backward"), 40),  # the last phase of all
        ({"augmentation": "snapmix"}, (0, 1, 1, "before"), 5),  # the network is asked where it looks
        ({"augmentation": "snapmix"}, (0, 1, 1, "backward"), 5),
        ({"method": "api"}, (0, 2, 0, "backward"), 3),
        ({"heads": "phase", "stage_num": 2}, (1, 0, 1, "forward"), 20),
        ({"precision": "float16", "epochs": 1}, (0, 1, 2, "backward"), 10),  # with a scaler
    ],
)
def test_a_phase_that_is_given_up_in_its_middle_leaves_no_trace(start, whole, tmp_path, changes, place, layer):
    config = SMALL.with_(dropout=0.5, **changes)
    run = Run.create(tmp_path, config)
    assert interrupted(start, config, run, place, layer) == place[:3]
    start(config, run).fit()
    assert_same_run(run, whole(config))


@pytest.mark.usefixtures("looks_everywhere")
def test_a_phase_may_be_given_up_again_and_again(start, whole, tmp_path):
    config = SMALL.with_(dropout=0.5)
    run = Run.create(tmp_path, config)
    for layer in (1, 10, 30):
        for part in ("forward", "backward"):
            assert interrupted(start, config, run, (0, 1, 2, part), layer) == (0, 1, 2)
    start(config, run).fit()
    assert_same_run(run, whole(config))


@pytest.mark.usefixtures("looks_everywhere")
def test_a_test_is_given_up_between_two_layers(start, whole, tmp_path):
    config = SMALL.with_(dropout=0.5)
    run = Run.create(tmp_path, config)
    batches = 4
    assert interrupted(start, config, run, (0, batches, 0, "test"), 10) == (0, batches, 0)
    assert [record["kind"] for record in run.metrics()] == ["loss"] * batches
    start(config, run).fit()
    assert_same_run(run, whole(config))


@pytest.mark.usefixtures("looks_everywhere")
def test_what_is_compiled_is_not_looked_into_and_the_rest_is(start, tmp_path, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # shapes cannot be checked while tracing
    compile_as_is = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module: compile_as_is(module, backend="aot_eager"))
    config = SMALL.with_(dropout=0.5, epochs=1, compile=True)
    runs = [Run.create(tmp_path, config) for _ in range(2)]
    start(config, runs[0]).fit()
    assert interrupted(start, config, runs[1], (0, 2, 1, "backward"), 10) == (0, 2, 1)
    trainer = start(config, runs[1])
    assert not set(trainer.abandonable.places) & set(trainer.model.backbone.modules())
    trainer.fit()
    assert_same_run(*runs)


class Pair(Team):
    """One of two processes, the other of which does nothing."""

    def wrap(self, module, device):
        return module

    def follow(self, order):
        return order

    def gather(self, value):
        return [value, value]

    def mean(self, value):
        return value


@pytest.mark.usefixtures("looks_everywhere")
def test_one_of_a_team_leaves_the_others_at_no_point_but_between_phases(tmp_path, colour_dataset):
    config = SMALL.with_(epochs=1)
    run = Asked(Run.create(tmp_path, config).folder)
    trainer = Training(config, colour_dataset, run, Pair(0, 2))
    looks = note_looks(trainer)
    trainer.fit()
    assert {part for *_, part in looks} == {"between", "test"}
    assert looks.count((0, 0, 0, "between")) == 1


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
    diverged.config = SMALL.with_(epochs=3)
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
        assert jobs.execute(run) is State.STOPPED
    assert seen == [(done, 16, "checking the images") for done in (1, 2, 3)]
    assert not (run.checkpoints / CHECKPOINT).exists()
    assert jobs.execute(run) is State.FINISHED, run.status().error


def test_the_whole_task_on_plumage(tmp_path, tiny_config):
    run = Run.create(tmp_path, tiny_config)
    assert jobs.execute(run) is State.FINISHED, run.status().error
    result = run.result()
    assert result["train_images"] == 24
    assert len(result["classes"]) == 12
    assert (run.folder / "predictions.json").exists()
    assert run.status().done == run.status().total
