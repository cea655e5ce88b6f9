"""Cutting a network by watching it: what is a row of blocks, what is not, and where stages end."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pmsi.base.errors import ConfigError
from pmsi.model.cutting import cut, stage_ends


def conv(c_in, c_out, stride=1):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """x + conv(x), halved if asked: nothing to cut in it."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.main, self.short = conv(c_in, c_out, stride), nn.Conv2d(c_in, c_out, 1, stride)

    def forward(self, x):
        return self.main(x) + self.short(x)


class Network(nn.Module):
    """A stem, and four stages of two blocks; ``between`` is done to the map of every stage, ``end`` to the last."""

    def __init__(self, between=lambda x: x, end=lambda x: x):
        super().__init__()
        self.stem = conv(3, 4, 2)
        widths = (4, 6, 8, 10, 12)
        self.stages = nn.ModuleList(nn.Sequential(Residual(a, b, 2), Residual(b, b, 1)) for a, b in pairwise(widths))
        self.norm = nn.BatchNorm2d(12)
        self.head = nn.Linear(12, 3)
        self.between, self.end = between, end

    def forward_features(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = self.between(stage(x))
        return self.end(self.norm(x))

    def forward(self, x):
        return self.head(self.forward_features(x).mean((2, 3)))


def meta(make):
    with torch.device("meta"):
        return make().eval()


def test_stages_and_their_blocks_are_found_by_name():
    network = meta(Network)
    found = cut(network, network.forward_features)
    stages = [((f"stages.{n}.0",), (f"stages.{n}.1",)) for n in range(3)]
    assert found.pieces == ((("stem",),), *stages, (("stages.3.0",), ("stages.3.1", "norm")))
    assert found.channels == (4, 6, 8, 10, 12)
    assert found.ends == (0, 1, 2, 3, 4)
    assert not found.expands


CHANGES = {"relu": F.relu, "relu_": F.relu_, "twice": lambda x: x * 2, "plus one": lambda x: x.add_(1)}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("place", ["between", "end"])
def test_what_is_done_between_modules_would_be_lost_and_is_refused(place, change):
    network = meta(lambda: Network(**{place: CHANGES[change]}))
    with pytest.raises(ConfigError, match="not a row of modules"):
        cut(network, network.forward_features)


def test_a_skip_over_stages_is_refused():
    network = meta(Network)

    def skipping(x):
        x = network.stem(x)
        y = network.stages[0](x)
        for stage in network.stages[1:]:
            x, y = y, stage(y)
        return network.norm(y + F.max_pool2d(x, 2).mean())

    with pytest.raises(ConfigError, match="not a row of modules"):
        cut(network, skipping)


def test_watching_leaves_no_hook_and_draws_nothing():
    network, state = meta(Network), torch.get_rng_state()
    cut(network, network.forward_features)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def widened(*more):
    network = meta(Network)
    network.norm = nn.Sequential(nn.BatchNorm2d(12, device="meta"), *more).eval()
    return cut(network, network.forward_features)


def test_a_last_block_of_1x1_convolutions_that_widens_is_marked():
    pointwise, square = (nn.Conv2d(12, 20, kernel, padding=kernel // 2, device="meta") for kernel in (1, 3))
    assert widened(pointwise, nn.ReLU()).expands
    assert widened(pointwise, nn.ReLU()).channels[-1] == 20
    assert not widened(square).expands
    assert not widened(nn.Conv2d(12, 12, 1, device="meta")).expands


def test_the_second_half_of_a_separable_convolution_is_no_expansion():
    depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12, device="meta")
    assert not widened(depthwise, nn.BatchNorm2d(12, device="meta"), nn.Conv2d(12, 20, 1, device="meta")).expands


def floats(strides):
    return [stride and float(stride) for stride in strides]


@pytest.mark.parametrize(
    ("strides", "ends"),
    [
        ((2, 4, 8, 16, 32), (0, 1, 2, 3, 4)),
        ((2, 2, 4, 4, 8, 16, 16, 32, 32), (0, 3, 4, 6, 8)),  # S1 is the stem alone
        ((1, 1, 2, 4, 8, 16, 32), (2, 3, 4, 5, 6)),
        ((4, 4, 8, 16, 32, 32), (1, 1, 2, 3, 5)),  # a stem that doubles twice: S1 and S2 share a map
        ((2, 4, None, 8, 16, 32), (0, 1, 3, 4, 5)),
    ],
)
def test_a_stage_ends_where_the_stride_doubles(strides, ends):
    assert stage_ends(floats(strides)) == ends


@pytest.mark.parametrize(
    ("strides", "named"),
    [
        ((16, 16), "16"),
        ((2, 4, 8, 16), "2, 4, 8, 16"),
        ((2, 4, 8, 16, 32, 64), "2, 4, 8, 16, 32, 64"),
        ((2, 4, 16, 32), "2, 4, 16, 32"),
        ((None, None), "none"),
        ((2, 4, 8, 16, 32, 16), "2, 4, 8, 16, 32"),
    ],
)
def test_other_strides_are_refused_by_name(strides, named):
    with pytest.raises(ConfigError, match=f"strides of its maps are {named}, and"):
        stage_ends(floats(strides))
