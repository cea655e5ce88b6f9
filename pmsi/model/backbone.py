"""Backbones: networks that turn images into five stage maps S1…S5. A stage ends where the stride doubles."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from pmsi.model.batch import STAGES, Images
from pmsi.model.receptive_field import Field, fields
from pmsi.model.weights.fitting import Network, take
from pmsi.model.weights.reading import Contents

StateDict = dict[str, Tensor]

Weights = Callable[[Network], StateDict]
"""Weights that are still to be found, in a file say; raises CheckpointError where there are none of the network."""


class Backbone(nn.Module):
    """A network as a sequence of pieces; ``ends`` are the indices of the pieces that end the stages S1…S5.

    Two stages have the same end if one layer has stride 4, such as a stem of 4×4 patches. ``channels`` are those of
    each piece's map: C_n, if pieces are stages. ``dropout`` is that of the network's usual classifier, for the
    baseline. ``late`` are the late layers, which bilinear methods pool: indices of consecutive blocks of S5, with their
    channels; if empty, S5's map is the only late layer.
    """

    def __init__(
        self,
        pieces: Sequence[nn.Module],
        channels: tuple[int, ...],
        dropout: float = 0.0,
        *,
        ends: tuple[int, ...] = tuple(range(STAGES)),
        late: Mapping[int, int] | None = None,
    ) -> None:
        super().__init__()
        assert len(pieces) == len(channels) == ends[-1] + 1
        assert len(ends) == STAGES
        self.pieces = nn.ModuleList(pieces)
        self.channels = channels
        self.dropout = dropout
        self.ends = ends
        self.late = dict(late or {})

    def forward(self, images: Images) -> list[Tensor]:
        """Return the maps of all pieces; if pieces are stages, those of S1…S5, (b, C_n, h / 2^n, w / 2^n) each."""
        return self.advance(images, 0)

    def advance(self, x: Tensor, done: int) -> list[Tensor]:
        """Return the maps of the pieces after the first ``done``; ``x`` is the last of their maps, or the images."""
        maps = []
        for piece in self.pieces[done:]:
            x = piece(x)
            maps.append(x)
        return maps

    def cut_late(self, count: int = 1) -> "Backbone":
        """Return this network with S5 cut after each of its last ``count`` late layers, or after all if it has fewer.

        The last pieces' maps are those of the late layers; later blocks of S5 are left out. The modules are shared with
        this backbone.
        """
        if not self.late:
            return self
        first, *others = list(self.late)[-count:]
        blocks = list(self.pieces[-1].children())
        pieces = [*self.pieces[:-1], nn.Sequential(*blocks[: first + 1]), *(blocks[number] for number in others)]
        channels = (*self.channels[:-1], *(self.late[number] for number in (first, *others)))
        return Backbone(pieces, channels, self.dropout, ends=(*self.ends[:-1], len(pieces) - 1))

    def receptive_fields(self) -> tuple[int | None, ...]:
        """Return the theoretical receptive field of each stage's map in pixels of the input, or None if unknown."""
        return tuple(field.reach for field in self.fields())

    def fields(self) -> tuple[Field, ...]:
        """Return the receptive field of each stage's map, with its stride and where it starts.

        See `pmsi.model.receptive_field`. The network's mode does not change.
        """
        was_training = self.training
        try:
            with torch.inference_mode(False), torch.enable_grad():
                images = next(self.parameters()).new_zeros(1, 3, 96, 96).requires_grad_()
                maps = self.eval()(images)
        finally:
            self.train(was_training)
        return fields([maps[end] for end in self.ends], images)


@dataclass(frozen=True)
class BackboneRow:
    """A row of BACKBONES.

    ``make(state, stem_stride)`` returns the network with the weights of the whole ImageNet model or None, and with one
    of ``stem_strides``. ``download`` returns ImageNet weights; None if there are none to download. ``from_file`` says
    whether weights can come from a file; else the network is always trained from scratch. ``stages`` is the number of
    last stages with a map of their own, hence the largest StageNum. ``late`` is the number of late layers.
    """

    title: str
    make: Callable[..., Backbone]
    download: Callable[[], StateDict] | None
    from_file: bool = True
    stages: int = STAGES
    stem_strides: tuple[int, ...] = (2, 1)
    late: int = 1


def load_weights(
    network: nn.Module, state: Weights | StateDict | None, spare: str | tuple[str, ...], title: str
) -> None:
    """Load the weights of a whole network, if any; CheckpointError, with ``title``, if they do not fit.

    Weights whose names begin with ``spare``, those of the classifier, are ignored: they may be missing or different.
    """
    if state is None:
        return
    expected = Network.of(title, network, spare)
    given = take(expected, Contents.of(state, Path(title))).state if isinstance(state, dict) else state(expected)
    if not next(network.parameters()).is_meta:  # on the meta device, only names, shapes and values are checked
        network.load_state_dict(given, strict=False)
