"""The baseline: the backbone with its usual classifier, global average pooling and one linear layer."""

from collections.abc import Collection

from torch import Tensor, nn

from pmsi.model.backbone import Backbone
from pmsi.model.recognizer import Outputs, Recognizer

CLASSIFIER = "classifier"


class Baseline(Recognizer):
    """GAP, the backbone's own dropout, linear: the first line of Table III."""

    heads = (CLASSIFIER,)
    primary = CLASSIFIER

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__(backbone)
        self.classifier = nn.Sequential(nn.Dropout(backbone.dropout), nn.Linear(backbone.channels[-1], classes))

    def classify(self, maps: list[Tensor], heads: Collection[str] | None = None) -> Outputs:
        return {CLASSIFIER: self.classifier(maps[-1].mean(dim=(2, 3)))}
