"""The rows of METHODS mean what the paper's Table III and Algorithm 1 say."""

import dataclasses

import pytest
import small
import torch

from pmsi.augment import AUGMENTATIONS
from pmsi.base.errors import ConfigError, UnknownName
from pmsi.config import TrainConfig
from pmsi.config.titles import METHOD_TITLES
from pmsi.methods import METHODS, build, resolve
from pmsi.model.batch import Phase, Target, cross_entropy

SMALL = small.SMALL.with_(image_size=64, projection=16)


def test_phases_follow_algorithm_1():
    """for n in [N − StageNum + 1, N]: r ← N − n + 1 (at most 3), then concat on the image itself."""
    for stage_num in range(1, 6):
        expected = [Phase(f"S{n}", min(5 - n + 1, 3)) for n in range(5 - stage_num + 1, 6)]
        phases = METHODS["pmr"].phases(SMALL.with_(stage_num=stage_num, concat_weight=2.0))
        assert list(phases) == [*expected, Phase("concat", 0, 2.0)]
    assert [(phase.head, phase.r) for phase in METHODS["pmr"].phases(TrainConfig())] == [
        ("S3", 3), ("S4", 2), ("S5", 1), ("concat", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["m", "p", "pm", "pr", "pmr"])
def test_the_three_letters_are_three_columns(name):
    config = SMALL.with_(method=name)
    plan, model = resolve(config), build(config, 5)
    assert (model.interaction is not None) == ("m" in name)
    assert (len(plan.phases) == 4) == ("p" in name)
    assert (plan.augmentation is AUGMENTATIONS["rmg"]) == ("r" in name)
    assert plan.phases[-1].head == "concat"


def test_pmg_has_our_phases_and_heads_with_its_own_jigsaw_and_no_interaction():
    config = SMALL.with_(method="pmg")
    plan, model = resolve(config), build(config, 5)
    assert plan.phases == resolve(SMALL).phases
    assert [2**phase.r for phase in plan.phases] == [8, 4, 2, 1]  # n × n patches
    assert plan.augmentation is AUGMENTATIONS["jigsaw"]
    assert model.interaction is None
    assert model.heads == build(SMALL, 5).heads


def test_systems_without_phases_take_one_step_on_the_raw_image():
    for name in ("baseline", "bcnn", "hbp", "pc", "api"):
        plan = resolve(SMALL.with_(method=name))
        assert plan.phases == (Phase("classifier", 0),)
        assert plan.augmentation is AUGMENTATIONS["none"]


def test_what_cannot_be_trained_is_refused_before():
    with pytest.raises(ConfigError, match="100 × 100"):
        resolve(SMALL.with_(image_size=100))
    resolve(SMALL.with_(image_size=100, method="pm"))
    for name, batch_size, devices in (("pc", 7, 1), ("pc", 6, 2), ("api", 30, 1), ("api", 4, 1), ("api", 8, 2)):
        config = SMALL.with_(batch_size=batch_size, devices=devices)
        with pytest.raises(ConfigError, match=f"batch_size = {batch_size} .*'{name}'.*multiple of"):
            resolve(config.with_(method=name))
        resolve(config)
        resolve(config.with_(method=name, batch_size=8 * devices))
    for field, value, known in (
        ("method", "pmrr", "pmr"), ("backbone", "resnet50", "resnet34"), ("augmentation", "rgm", "rmg"),
        ("smooth_conv", "separabel", "separable"),
    ):  # fmt: skip
        with pytest.raises(UnknownName, match=f"{value}.*{known}"):
            resolve(dataclasses.replace(SMALL, **{field: value}))


def test_new_layers_depend_on_the_seed_alone_and_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    first, second, other = build(SMALL, 5), build(SMALL, 5), build(SMALL.with_(seed=1), 5)
    assert torch.equal(state, torch.get_rng_state())
    weights = [model.concat.layers[1].weight for model in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_cross_entropy_of_mixed_targets_by_its_definition(generator):
    logits = torch.randn(3, 4, generator=generator)
    target = Target(
        torch.tensor([0, 1, 2]), torch.tensor([3, 1, 0]), torch.tensor([0.5, 0.9, 0.0]), torch.tensor([0.2, 0.3, 1.0])
    )
    p = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    losses = [
        -target.weight_a[i] * p[i, target.label_a[i]].log() - target.weight_b[i] * p[i, target.label_b[i]].log()
        for i in range(3)
    ]
    torch.testing.assert_close(cross_entropy(logits, target), sum(losses) / 3)
    plain = Target.plain(torch.tensor([0, 1, 2]))
    torch.testing.assert_close(cross_entropy(logits, plain), torch.nn.functional.cross_entropy(logits, plain.label_a))


def test_a_method_has_one_title():
    assert {name: row.title for name, row in METHODS.items()} == METHOD_TITLES
