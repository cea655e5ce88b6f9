"""What makes a step fast changes no mathematics: each shortcut against the plain way, and what a field rounds."""

import jaxtyping
import pytest
import torch
from learning import StoppedAfter, Training, assert_equal_bits, go_on
from small import SMALL
from torch import nn

from pmsi.augment.mosaic import apply, plan
from pmsi.data.preprocessing import normalize
from pmsi.engine.checkpoint import CHECKPOINT, load_checkpoint
from pmsi.engine.device import autocast
from pmsi.methods import build, resolve
from pmsi.model.batch import Target
from pmsi.runs import Run, Stopped
from pmsi.training.optimizer import make_optimizer

SMALL = SMALL.with_(image_size=64)


def batch(generator, size=64):
    images = torch.randint(0, 256, (4, 3, size, size), generator=generator, dtype=torch.uint8)
    return images, Target.plain(torch.randint(5, (4,), generator=generator))


def test_channels_last_gives_the_losses_and_gradients_of_the_default_format(generator):
    config = SMALL.with_(backbone="mobilenet_v2", dropout=0.0)
    images, target = batch(generator)
    phase = resolve(config).phases[0]
    fast, plain = build(config, 5).double(), build(config, 5).double()
    for parameter in plain.parameters():
        parameter.data = parameter.data.contiguous()
    shown = normalize(images).double()
    assert shown.is_contiguous(memory_format=torch.channels_last)
    losses = [model.loss(seen, target, phase) for model, seen in ((fast, shown), (plain, shown.contiguous()))]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    for ours, theirs in zip(fast.parameters(), plain.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_fused_optimizer_takes_torch_s_own_plain_steps(generator):
    """Over all phases: the first step of a head comes when others have had some."""
    config = SMALL.with_(dropout=0.0)
    fast, plain = build(config, 5).double(), build(config, 5).double()
    fused = make_optimizer(fast, config)
    rates = {"momentum": config.momentum, "weight_decay": config.weight_decay}
    groups = [{"params": list(part)} for part in (plain.backbone.parameters(), plain.new_parameters())]
    reference = torch.optim.SGD(groups, lr=config.lr_new, foreach=False, **rates)
    for _ in range(3):
        images, target = batch(generator)
        for phase in resolve(config).phases:
            for model, optimizer in ((fast, fused), (plain, reference)):
                optimizer.zero_grad(set_to_none=True)
                model.loss(normalize(images).double(), target, phase).backward()
                optimizer.step()
    for ours, theirs in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_normalising_after_the_mosaic_is_normalising_before_it(generator):
    images, _ = batch(generator)
    layout = plan(4, 3, generator=generator)
    assert torch.equal(normalize(apply(images, layout)), apply(normalize(images), layout))


@pytest.fixture
def start(tmp_path, colour_dataset):
    """Return a function that begins a training run of a config on the colours."""
    return lambda config, run=None: Training(config, colour_dataset, run or Run.create(tmp_path, config))


def test_compiling_changes_no_loss(start, monkeypatch):
    """Traced and run without the compiler's code, which would take minutes: the graph is what could be wrong."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # shapes cannot be checked while tracing
    compile_as_is = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module: compile_as_is(module, backend="aot_eager"))
    config = SMALL.with_(epochs=1, stage_num=1, image_size=32, batch_size=16)
    plain, compiled = start(config), start(config.with_(compile=True))
    plain.fit()
    compiled.fit()
    assert set(compiled.model.state_dict()) == set(plain.model.state_dict())
    ours, theirs = ([r["losses"] for r in t.run.metrics() if r["kind"] == "loss"] for t in (compiled, plain))
    for record, expected in zip(ours, theirs, strict=True):
        assert record == pytest.approx(expected, rel=1e-3)


def test_autocast_rounds_products_and_leaves_parameters_and_losses_alone(generator):
    images, target = batch(generator)
    model = build(SMALL.with_(dropout=0.0), 5)
    phase = resolve(SMALL).phases[-1]
    exact = model.loss(normalize(images), target, phase)
    with autocast(torch.device("cpu"), "bfloat16"):
        assert model.backbone(normalize(images))[0].dtype is torch.bfloat16
        rounded = model.loss(normalize(images), target, phase)
    with autocast(torch.device("cpu"), "float32"):
        assert model.backbone(normalize(images))[0].dtype is torch.float32
    assert rounded.dtype is torch.float32
    assert 0 < abs(rounded.item() - exact.item()) < 0.05 * exact.item()
    assert all(parameter.dtype is torch.float32 for parameter in model.parameters())


def test_a_run_in_half_precision_resumes_to_the_same_bits_and_the_same_scale_of_its_losses(start):
    config = SMALL.with_(precision="float16", dropout=0.5, image_size=32, epochs=1)
    whole = start(config).run
    start(config, whole).fit()
    broken = StoppedAfter(start(config).run.folder, 2)
    begun = start(config, broken).scaler.state_dict()
    with pytest.raises(Stopped):
        start(config, broken).fit()
    start(config, go_on(broken)).fit()
    assert_equal_bits(broken, whole)
    scales = [load_checkpoint(run.checkpoints / CHECKPOINT).about["scaler"] for run in (whole, broken)]
    assert scales[0] == scales[1] != begun


@pytest.mark.parametrize(("seconds", "checkpoints"), [(0.0, 4 * 4 + 1), (1e6, 1)])
def test_a_checkpoint_is_written_between_epochs_where_time_has_passed(start, monkeypatch, seconds, checkpoints):
    """Before each of four phases of four batches, and at the end of the epoch; metrics are made safe before each."""
    saved, flush = [], Run.flush_metrics
    monkeypatch.setattr(Run, "flush_metrics", lambda run: saved.append(flush(run)))
    start(SMALL.with_(epochs=1, checkpoint_every_s=seconds)).fit()
    assert len(saved) == checkpoints
