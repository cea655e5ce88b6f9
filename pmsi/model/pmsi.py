"""The paper's model: smooth convs on the last StageNum stages, interaction, a classifier for each stage and for all.

With ``interaction=False`` it is the "+ P" model (m_n = x_n). With ``stage_heads=False`` it has only the concat
classifier: the "+ M" model, which is not trained in phases.
"""

import math
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn

from pmsi.model.backbone import Backbone
from pmsi.model.batch import STAGES
from pmsi.model.heads import Classifier, MultiStageInteraction, SmoothConv
from pmsi.model.recognizer import Outputs, Recognizer

CONCAT, MIX = "concat", "mix"


def stage_names(stage_num: int) -> tuple[str, ...]:
    """Return the names of the last ``stage_num`` stages: 3 → S3, S4, S5."""
    return tuple(f"S{n}" for n in range(STAGES - stage_num + 1, STAGES + 1))


def mix_logits(outputs: list[Tensor]) -> Tensor:
    """Return the mean of the logits: Eq. 8, divided by the number of outputs.

    The predicted class is that of the sum, but the sum's softmax would be too sharp: four outputs with probabilities of
    13, 16, 10 and 20 % would give 69 %.
    """
    return torch.stack(outputs).mean(dim=0)


def mix_probabilities(outputs: list[Tensor]) -> Tensor:
    """Return the logarithm of the mean of the softmax outputs: Eq. 8 read literally, as logits."""
    log_p = torch.stack([logits.log_softmax(dim=1) for logits in outputs])
    return log_p.logsumexp(dim=0) - math.log(len(outputs))


MIXES: dict[str, Callable[[list[Tensor]], Tensor]] = {"logits": mix_logits, "probabilities": mix_probabilities}


class PMSI(Recognizer):
    """Progressive multi-stage interaction (section III-C).

    ``channels`` is c and ``hidden`` is h of METHOD; by default c = C_N / 2 and h = c / 2. ``bn_momentum`` is that of
    the smooth convs.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: int,
        *,
        stage_num: int = 3,
        channels: int | None = None,
        hidden: int | None = None,
        dropout: float = 0.5,
        spatial: Callable[[int, int], list[nn.Module]],
        bn_momentum: float = 0.1,
        mix: Callable[[list[Tensor]], Tensor] = mix_logits,
        interaction: bool = True,
        stage_heads: bool = True,
    ) -> None:
        super().__init__(backbone)
        c = channels if channels is not None else backbone.channels[-1] // 2
        h = hidden if hidden is not None else max(1, c // 2)
        self.stages = stage_names(stage_num)
        self.smooth = nn.ModuleList(
            SmoothConv(c_n, h, c, spatial, bn_momentum) for c_n in backbone.channels[-stage_num:]
        )
        self.interaction = MultiStageInteraction(stage_num, c, h, dropout) if interaction else None
        names = self.stages if stage_heads else ()
        self.classifiers = nn.ModuleDict({name: Classifier(c, h, classes) for name in names})
        self.concat = Classifier(stage_num * c, h, classes)
        self.mix = mix
        self.heads = (*names, CONCAT, MIX) if stage_heads else (CONCAT,)
        self.primary = self.heads[-1]

    def last_layers(self, head: str) -> list[nn.Linear]:
        used = [one for name, one in {**self.classifiers, CONCAT: self.concat}.items() if head in (name, MIX)]
        return [[layer for layer in one.modules() if isinstance(layer, nn.Linear)][-1] for one in used]

    def classify(self, maps: list[Tensor], heads: Collection[str] | None = None) -> Outputs:
        x = self.vectors(maps)
        return self.answer(self.interaction(x) if self.interaction else x, heads)

    def vectors(self, maps: list[Tensor]) -> list[Tensor]:
        """Return x_n of each of the last stages, (b, c) each."""
        return [smooth(stage_map) for smooth, stage_map in zip(self.smooth, maps[-len(self.stages) :], strict=True)]

    def answer(self, m: list[Tensor], heads: Collection[str] | None = None) -> Outputs:
        """Return logits (b, classes) by head from m_n of each of the last stages, of all ``heads`` by default."""
        wanted = set(self.heads if heads is None else heads)
        needed = set(self.heads) if MIX in wanted else wanted
        outputs: Outputs = {
            name: self.classifiers[name](m_n)  # Eq. 4
            for name, m_n in zip(self.stages, m, strict=True)
            if name in needed and name in self.classifiers
        }
        if CONCAT in needed:
            outputs[CONCAT] = self.concat(torch.cat(m, dim=1))  # Eq. 5, 6
        if MIX in wanted:
            outputs[MIX] = self.mix(list(outputs.values()))  # Eq. 8
        return {name: outputs[name] for name in self.heads if name in wanted}
