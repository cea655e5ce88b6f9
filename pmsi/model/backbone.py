"""Backbones: networks that turn images into five stage maps S1…S5. The rows of BACKBONES stand beside their builders.

A stage ends where the stride doubles. Weights are read from a download or from a file, and "none" is a choice that has
to be stated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pmsi.base.errors import CheckpointError
from pmsi.model.batch import STAGES, Images
from pmsi.model.receptive_field import receptive_fields

StateDict = dict[str, Tensor]


class Backbone(nn.Module):
    """A network as pieces that run one after the other; those that ``ends`` numbers end the stages S1…S5.

    Two stages end together where one layer doubles the stride twice, as a stem of 4×4 patches does for S1 and S2.
    ``channels`` are those of each piece's map: C_n where pieces are stages. ``dropout`` is that of the network's usual
    classifier, used by the plain baseline. ``late`` states the late layers: the numbers of consecutive blocks of S5
    whose maps bilinear methods pool, with their channels; without any, S5's map is the only late one.
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
        """Return the maps of all pieces: of S1…S5, (b, C_n, h / 2^n, w / 2^n) each, where pieces are stages."""
        return self.advance(images, 0)

    def advance(self, x: Tensor, done: int) -> list[Tensor]:
        """Return the maps of the pieces after the first ``done``, whose map is ``x`` (the images where it is 0)."""
        maps = []
        for piece in self.pieces[done:]:
            x = piece(x)
            maps.append(x)
        return maps

    def cut_late(self, count: int = 1) -> "Backbone":
        """Return this network with S5 cut after each of its last ``count`` late layers, or all if it has fewer.

        The last pieces' maps are then those of the late layers; blocks of S5 behind them are left out. The modules are
        shared with this backbone.
        """
        if not self.late:
            return self
        first, *others = list(self.late)[-count:]
        blocks = list(self.pieces[-1].children())
        pieces = [*self.pieces[:-1], nn.Sequential(*blocks[: first + 1]), *(blocks[number] for number in others)]
        channels = (*self.channels[:-1], *(self.late[number] for number in (first, *others)))
        return Backbone(pieces, channels, self.dropout, ends=(*self.ends[:-1], len(pieces) - 1))

    def receptive_fields(self) -> tuple[int | None, ...]:
        """Return the theoretical receptive field of each stage's map, in pixels of the input; None where unknown.

        See `pmsi.model.receptive_field` for what counts. The network's mode stays as it is.
        """
        was_training = self.training
        try:
            with torch.inference_mode(False), torch.enable_grad():
                images = next(self.parameters()).new_zeros(1, 3, 96, 96).requires_grad_()
                maps = self.eval()(images)
        finally:
            self.train(was_training)
        return receptive_fields([maps[end] for end in self.ends], images)


@dataclass(frozen=True)
class BackboneRow:
    """A row of BACKBONES: how to make the network, given the weights of the whole ImageNet model or None.

    ``make(state, stem_stride)`` takes one of ``stem_strides``, by default 2. ``download`` fetches the weights; None
    where nobody offers any. ``from_file`` says whether there can be a file of them; else the network is always trained
    from scratch. ``stages`` is how many of S1…S5, counted from the last, have a map of their own: the largest StageNum.
    ``late`` is how many late layers bilinear methods can pool, S5's own map among them.
    """

    title: str
    make: Callable[..., Backbone]
    download: Callable[[], StateDict] | None
    from_file: bool = True
    stages: int = STAGES
    stem_strides: tuple[int, ...] = (2, 1)
    late: int = 1


def load_weights(network: nn.Module, state: StateDict | None, spare: str | tuple[str, ...], title: str) -> None:
    """Load the weights of a whole network, if any; raise CheckpointError, which names ``title``, where they are others.

    Those whose names begin as ``spare`` says, the classifier's, may be absent or of another size, and are left out.
    """
    if state is None:
        return
    expected = {name: value for name, value in network.state_dict().items() if not name.startswith(spare)}
    given = {name: value for name, value in state.items() if not name.startswith(spare)}
    # BatchNorm's count of batches is in no file older than torch 0.4.1, the ResNets' among them; nothing here reads it.
    missing = sorted(name for name in expected.keys() - given.keys() if not name.endswith(".num_batches_tracked"))
    foreign = sorted(given.keys() - expected.keys())
    wrong = [name for name in expected.keys() & given.keys() if expected[name].shape != given[name].shape]
    if missing or foreign or wrong:
        counts = f"{len(missing)} tensors missing, {len(foreign)} unknown, {len(wrong)} of another shape"
        example = (missing or foreign or wrong)[0]
        raise CheckpointError(
            f"These weights are not those of {title}: {counts} ({example!r}, for one). "
            "Choose the backbone that the weights were trained for."
        )
    if not next(network.parameters()).is_meta:  # there, names and shapes are all that can be checked
        network.load_state_dict(given, strict=False)


@torch.no_grad()
def stage_sizes(backbone: Backbone, image_size: int) -> tuple[int, ...]:
    """Return the side of each stage's map, in cells, for a square image."""
    images = torch.zeros(1, 3, image_size, image_size, device=next(backbone.parameters()).device)
    maps = backbone.eval()(images)
    return tuple(maps[end].shape[-1] for end in backbone.ends)
