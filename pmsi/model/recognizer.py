"""`Recognizer`, the base class of all models: a backbone, and a classification of its stage maps.

``forward = classify(backbone(images))``. As the stage maps are outputs of the backbone, class activation maps need no
hooks.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection

import torch
from torch import Tensor, nn

from pmsi.base.errors import lookup
from pmsi.model.backbone import Backbone
from pmsi.model.batch import Images, Labels, Logits, Phase, Scalar, Target, cross_entropy

Outputs = dict[str, Logits]


class Recognizer(nn.Module, ABC):
    """Base class of all models.

    ``heads`` are the names of the outputs, in display order; ``primary`` is the output for predictions.
    """

    heads: tuple[str, ...]
    primary: str

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.attention_head: nn.Linear | None = None

    @abstractmethod
    def classify(self, maps: list[Tensor], heads: Collection[str] | None = None) -> Outputs:
        """Return logits (b, classes) by head from the backbone's maps, of all ``heads`` by default."""

    def forward(self, images: Images, heads: Collection[str] | None = None) -> Outputs:
        return self.classify(self.backbone(images), heads)

    def loss(self, images: Images, target: Target, phase: Phase, heads: Collection[str] | None = None) -> Scalar:
        """Return the loss of the phase's head, without the phase's weight; ``heads`` are those that are computed."""
        maps = self.backbone(images)
        loss = self.head_loss(maps, target, phase, heads)
        if self.attention_head is None:
            return loss
        # The attention head is trained without influence on the rest: its input is detached, and its loss adds 0.
        aside = cross_entropy(self.attention_head(maps[-1].detach().mean(dim=(2, 3))), target)
        return loss + (aside - aside.detach())  # in this order, because the difference is exactly 0

    def head_loss(
        self, maps: list[Tensor], target: Target, phase: Phase, heads: Collection[str] | None = None
    ) -> Scalar:
        """Return the loss of the phase's head from the maps; methods with another loss override this."""
        return cross_entropy(self.classify(maps, heads)[phase.head], target)

    def add_attention_head(self, classes: int) -> None:
        """Add a linear classifier of the last map's mean, whose weights give the maps of `attention`."""
        self.attention_head = nn.Linear(self.backbone.channels[-1], classes)

    @torch.no_grad()
    def attention(self, images: Images, labels: Labels) -> Tensor:
        """Return the class activation map (Zhou et al., CVPR 2016) of each image's class: (b, h_N, w_N), any sign.

        Of the attention head, with BatchNorm's running statistics and without a graph.
        """
        assert self.attention_head is not None, "build adds one where the augmentation attends"
        was_training = self.backbone.training
        try:
            last = self.backbone.eval()(images)[-1]
        finally:
            self.backbone.train(was_training)
        return torch.einsum("bchw,bc->bhw", last.float(), self.attention_head.weight[labels])

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters outside the backbone, which are never pretrained."""
        own = {id(parameter) for parameter in self.backbone.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]

    def last_layers(self, head: str) -> list[nn.Linear]:
        """Return the layers whose rows are the classes' weights at an output, by default that of ``classifier``."""
        modules = getattr(self, "classifier", nn.Module()).modules()
        return [module for module in modules if isinstance(module, nn.Linear)][-1:]

    def check_head(self, head: str) -> str:
        """Return the name of a head; UnknownName, with the known ones, for another name."""
        lookup("output", dict.fromkeys(self.heads), head)
        return head


class Objective(nn.Module):
    """A recogniser's loss as the forward of a module, which torch's DistributedDataParallel needs."""

    def __init__(self, model: Recognizer) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Images, target: Target, phase: Phase, heads: Collection[str] | None) -> Scalar:
        return self.model.loss(images, target, phase, heads)
