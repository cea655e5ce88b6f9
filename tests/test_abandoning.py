"""Work that is given up between two layers: what it leaves, what it costs, and when nobody looks."""

import contextlib
import gc
import weakref

import pytest
import torch
from torch import nn

from pmsi.config import TrainConfig
from pmsi.methods import build
from pmsi.model.batch import Phase, Target
from pmsi.training import abandoning
from pmsi.training.abandoning import Abandonable, layers

PHASE = Phase("S4", 2)


class Enough(Exception):
    """Raised by a test's own look."""


@pytest.fixture(autouse=True)
def _looks_everywhere(monkeypatch):
    monkeypatch.setattr(abandoning, "POLL_S", 0.0)
    monkeypatch.setattr(abandoning, "LONG_S", 0.0)


@pytest.fixture(params=["tiny", "mobilenet_v2"])  # with activations in place, and with many and small layers
def model(request):
    return build(TrainConfig(backbone=request.param, weights="none", channels=8, hidden=6), 5).train()


@pytest.fixture
def batch(generator):
    return torch.rand(4, 3, 64, 64, generator=generator), Target.plain(torch.tensor([0, 1, 2, 3]))


def never():
    pass


def after(looks):
    """Return a look that raises as so manieth."""
    left = [looks]

    def look():
        left[0] -= 1
        if left[0] == 0:
            raise Enough

    return look


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def gradients(model, batch, context):
    """Return the loss and all gradients of one phase, computed in this context."""
    model.zero_grad(set_to_none=True)
    torch.manual_seed(0)
    with context:
        loss = model.loss(*batch, PHASE)
        loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return found | {"loss": loss.detach()}


def looks_of(model, batch):
    """Return how many looks a phase has."""
    count = [0]

    def look():
        count[0] += 1

    gradients(model, batch, Abandonable(model, layers(model), look)())
    return count[0]


def test_looking_changes_no_bit(model, batch):
    before = state(model)
    plain = gradients(model, batch, contextlib.nullcontext())
    moved = state(model)
    model.load_state_dict(before)
    looked = gradients(model, batch, Abandonable(model, layers(model), never)())
    assert same(plain, looked)
    assert same(state(model), moved)


def test_layers_are_looked_at_on_the_way_forward_and_back(model, batch):
    places = layers(model)
    looks = looks_of(model, batch)
    without_back = sum(1 for place in places if isinstance(place, nn.Dropout))
    used = len(places) - without_back
    assert used <= looks <= 2 * len(places)
    assert looks >= len(places) + 0.7 * used  # the classifiers of other phases have no way back


@pytest.mark.parametrize("share", [0.01, 0.2, 0.45, 0.55, 0.8, 1.0])
def test_whenever_work_is_given_up_the_buffers_are_what_they_were(model, batch, share):
    before, looks = state(model), looks_of(model, batch)
    model.load_state_dict(before)
    abandonable = Abandonable(model, layers(model), after(max(1, round(share * looks))))
    with pytest.raises(Enough):
        gradients(model, batch, abandonable())
    assert same(state(model), before)
    assert not any(module._forward_hooks for module in model.modules())


def test_a_buffer_that_a_module_replaces_is_put_back_too():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(2))

        def forward(self, x):
            self.seen = self.seen + 1
            return x

    model = nn.Sequential(Counting(), nn.Identity())
    abandonable = Abandonable(model, layers(model), after(2))
    with pytest.raises(Enough), abandonable():
        model(torch.ones(1))
    assert torch.equal(model[0].seen, torch.zeros(2))


@pytest.mark.parametrize("looks", [5, 70])  # on the way forward, and on the way back
def test_what_was_computed_is_free_as_soon_as_it_is_given_up(batch, looks):
    model = build(TrainConfig(backbone="tiny", weights="none", channels=8, hidden=6), 5).train()
    computed = []
    model.backbone.pieces[0][0][0].register_forward_hook(lambda *args: computed.append(weakref.ref(args[-1])))
    abandonable = Abandonable(model, layers(model), after(looks))
    gc.disable()  # nothing may wait for it
    try:
        given_up = False
        try:
            gradients(model, batch, abandonable())
        except Enough:  # and not pytest.raises, which would keep the frames
            given_up = True
        assert given_up
        assert [reference() for reference in computed] == [None]
    finally:
        gc.enable()


def test_looks_are_no_closer_than_they_may_be(model, batch, monkeypatch):
    monkeypatch.setattr(abandoning, "POLL_S", 3600.0)
    assert looks_of(model, batch) == 1


def test_short_work_is_not_looked_into_once_it_is_known_to_be_short(model, batch, monkeypatch):
    looks = []
    abandonable = Abandonable(model, layers(model), lambda: looks.append(None))
    gradients(model, batch, abandonable())
    assert looks
    looks.clear()
    monkeypatch.setattr(abandoning, "LONG_S", 3600.0)
    gradients(model, batch, abandonable())
    assert not looks
    monkeypatch.setattr(abandoning, "LONG_S", 0.0)
    gradients(model, batch, abandonable())
    assert looks


def test_without_places_nobody_looks(model, batch):
    gradients(model, batch, Abandonable(model, (), after(1))())


def test_layers_are_the_modules_without_others_inside():
    inner = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    outer = nn.Sequential(nn.Conv2d(3, 2, 1), inner, nn.Identity())
    assert layers(outer) == [outer[0], inner[0], inner[1], outer[2]]
    assert layers(outer, apart_from=inner) == [outer[0], outer[2]]
