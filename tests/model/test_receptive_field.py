"""Receptive fields, against where a gradient arrives and against sums by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pmsi.model.receptive_field import fields, receptive_fields


def field_of(function, side=64):
    images = torch.zeros(1, 3, side, side, requires_grad=True)
    return receptive_fields([function(images)], images)[0]


def reached(function, cell, side=64):
    """The columns that change a cell: where its gradient is not zero, for weights that are all positive."""
    images = torch.ones(1, 3, side, side, requires_grad=True)
    made = function(images)
    made[0, :, made.shape[-2] // 2, cell].sum().backward()
    touched = images.grad[0].abs().sum(dim=(0, 1)).nonzero().flatten()
    return int(touched[0]), int(touched[-1]) + 1


def conv(c_in, c_out, kernel, **options):
    layer = nn.Conv2d(c_in, c_out, kernel, bias=False, **options)
    nn.init.constant_(layer.weight, 0.1)
    return layer


class Branches(nn.Module):
    """A 5×5, a dilated 3×3 and a 1×1 path, added or put side by side."""

    def __init__(self, together):
        super().__init__()
        self.paths = nn.ModuleList([conv(3, 3, 5), conv(3, 3, 3, dilation=3), conv(3, 3, 1)])
        self.together = together

    def forward(self, x):
        sides = (2, 3, 0)
        return self.together([path(F.pad(x, (side,) * 4)) for path, side in zip(self.paths, sides, strict=True)])


class Excited(nn.Module):
    """A convolution gated by the average of its whole map."""

    def __init__(self, average):
        super().__init__()
        self.conv, self.squeeze, self.average = conv(3, 4, 3, stride=2, padding=1), conv(4, 4, 1), average

    def forward(self, x):
        x = self.conv(x)
        return x * self.squeeze(self.average(x)).sigmoid()


class ChannelsLast(nn.Module):
    """A 7×7 depthwise convolution, then a linear layer over channels, as ConvNeXt has them."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.linear = conv(3, 3, 7, padding=3, groups=3), nn.LayerNorm(3), nn.Linear(3, 3)

    def forward(self, x):
        inside = self.linear(self.norm(self.conv(x).permute(0, 2, 3, 1)))
        x += inside.permute(0, 3, 1, 2)
        return x


LOCAL = {
    "strides and dilation": lambda: nn.Sequential(
        conv(3, 4, 3, stride=2), conv(4, 4, 3, dilation=2), conv(4, 2, (1, 5))
    ),
    "max pooling": lambda: nn.Sequential(conv(3, 4, 3), nn.MaxPool2d(3, 2, 1), conv(4, 4, 3)),
    "average pooling": lambda: nn.Sequential(nn.AvgPool2d(2), nn.ReLU(inplace=True), conv(3, 4, 3)),
    "branches side by side": lambda: nn.Sequential(Branches(lambda maps: torch.cat(maps, 1)), conv(9, 2, 3)),
    "padding on one side": lambda: nn.Sequential(nn.ZeroPad2d((0, 2, 0, 2)), conv(3, 4, 5, stride=2), conv(4, 4, 3)),
    "shuffled channels": lambda: nn.Sequential(conv(3, 4, 3), nn.ChannelShuffle(2), nn.BatchNorm2d(4), conv(4, 1, 3)),
}


@pytest.mark.parametrize("name", LOCAL)
def test_fields_are_what_the_gradient_reaches(name):
    network = LOCAL[name]().eval()
    # The gradient of a maximum goes to one of equal cells alone, that of an average to all.
    smooth = [nn.AvgPool2d(3, 2, 1) if isinstance(layer, nn.MaxPool2d) else layer for layer in network.children()]
    images = torch.zeros(1, 3, 64, 64, requires_grad=True)
    made = network(images)
    (field,) = fields([made], images)
    for cell in (0, made.shape[-1] // 2, made.shape[-1] - 1):
        assert field.pixels(cell, 64) == reached(nn.Sequential(*smooth), cell)


UNKNOWN = {
    "attention": lambda x: F.scaled_dot_product_attention(*[x.flatten(2).transpose(1, 2)] * 3),
    "a product of places": lambda x: x @ x,
    "softmax over places": lambda x: x.softmax(-1) * x,
    "a shift": lambda x: x.roll(1, -1),
    "an average of columns": lambda x: x * x.mean(3, keepdim=True),
    "columns as channels": lambda x: F.linear(x, torch.ones(64, 64)),
    "another size": lambda x: F.interpolate(x, scale_factor=2),
    "every second column": lambda x: x[..., ::2],
    "steps of two lengths": lambda x: conv(3, 3, 33)(x) + conv(3, 3, 1, stride=2)(x),
    "a turn": lambda x: x.permute(0, 1, 3, 2),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_after_what_is_no_convolution_the_field_is_unknown_and_stays_so(name):
    assert field_of(UNKNOWN[name]) is None
    assert field_of(lambda x: conv(3, 4, 3)(UNKNOWN[name](x).reshape(1, 3, -1, 32))) is None


def test_a_map_of_other_images_has_no_field_and_one_inside_a_block_with_channels_last_has():
    images, others = (torch.zeros(1, 3, 8, 8, requires_grad=True) for _ in range(2))
    assert receptive_fields([others * 2], images) == (None,)
    assert field_of(nn.Sequential(conv(3, 3, 4, stride=4), ChannelsLast())) == 4 + 6 * 4
