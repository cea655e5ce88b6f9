"""What every system of the lab is: a backbone, and a way to classify its stage maps.

``forward = classify(backbone(images))``. Because the maps pass through here in the open, every system explains itself
in the same way, without hooks. A recogniser does not know how it is trained, apart from its loss.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection

from torch import Tensor, nn

from pmsi.batch import Images, Logits, Phase, Scalar, Target, cross_entropy
from pmsi.errors import lookup
from pmsi.model.backbone import Backbone

Outputs = dict[str, Logits]


class Recognizer(nn.Module, ABC):
    """Base of every system.

    ``heads`` names its outputs, in the order in which they are shown; ``primary`` is the one that it predicts with.
    """

    heads: tuple[str, ...]
    primary: str

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    @abstractmethod
    def classify(self, maps: list[Tensor], heads: Collection[str] | None = None) -> Outputs:
        """Return logits (b, classes) by head from the maps of S1…S5; of all heads, or of those asked for."""

    def forward(self, images: Images, heads: Collection[str] | None = None) -> Outputs:
        return self.classify(self.backbone(images), heads)

    def loss(self, images: Images, target: Target, phase: Phase, heads: Collection[str] | None = None) -> Scalar:
        """Return the loss of the phase's head alone, before the phase's weight; ``heads`` are those that run."""
        return cross_entropy(self(images, heads)[phase.head], target)

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters outside the backbone: those that never come from ImageNet."""
        own = {id(parameter) for parameter in self.backbone.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]

    def check_head(self, head: str) -> str:
        """Return the name of a head, or raise UnknownName that lists those there are."""
        lookup("output", dict.fromkeys(self.heads), head)
        return head
