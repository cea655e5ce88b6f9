"""The importance of parts by intervention, and how well maps agree with it: the protocols of FunnyBirds.

A part's true importance for a network is what its answer loses when the very same object is shown without the part, or
with it in another class's form. The protocols are those of Hesse et al., ICCV 2023, stated for any data set that has
`Interventions`; what differs from theirs is said at each. Parts whose leaving out changes no pixel do not count.

An explanation says how much each part counts: the share of a map's sum that lies in its mask. Beside the maps stand
the ORACLE, whose scores are the true importances, AREA, what a constant map says, and RANDOM, chance.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.special import softmax
from scipy.stats import spearmanr, wilcoxon
from torch import Tensor

from pmsi.base.errors import DataError
from pmsi.base.seeding import derive, numpy_generator
from pmsi.base.statistics import holm
from pmsi.config import TrainConfig
from pmsi.data.dataset import Dataset, Interventions, Sample
from pmsi.data.preprocessing import centre_crop, normalize, resize, to_tensor
from pmsi.engine.folding import folded
from pmsi.explain.cam import DEFAULT_STAGES, cams
from pmsi.explain.cam import resize as enlarge
from pmsi.explain.measures.pointing import mass
from pmsi.explain.measures.regions import BODY, part_masks
from pmsi.explain.measures.report import Numbers, means
from pmsi.explain.rivals import RIVALS
from pmsi.model import Recognizer

ORACLE, AREA, RANDOM = "oracle", "area", "random"
"""Explanations beside the maps."""

BACKGROUND = "background"
"""The region around the object; its importance is the mean loss over all other surroundings."""

THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
"""Shares of an explanation above which a part counts as important; the best one is reported, as by FunnyBirds."""

IRRELEVANT = 0.05
"""Share of the class's probability; what loses less is irrelevant. FunnyBirds takes it of the logit, whose zero is
arbitrary."""

BATCH = 16

LEAST = 3
"""Parts of an image that a correlation needs."""

Answer = Callable[[Sequence[Image.Image]], Mapping[str, np.ndarray]]
"""Pictures of a data set → logits (n, classes) by head."""

Shares = dict[str, float]
"""An explanation: by part, and by BACKGROUND if it is known, its share."""

Explain = Callable[[Sample, Image.Image, str, int, int | None], Mapping[str, Shares]]
"""(sample, a picture of it, head, label, its rival if any) → an explanation by source, such as "gradcam S3"."""

ChooseRival = Callable[[str, np.ndarray, int], int]
"""(head, its logits (classes,), label) → the class against which the label is explained."""


@dataclass(frozen=True)
class PartMeasures:
    """The measures of one image by head: ``importance`` of its parts and ``agreement`` of explanations with it.

    Keys of ``importance`` are "PART/without" and "PART/swap", what is explained loses (the class's logit, or what it is
    ahead of its rival's); the same followed by " p", what the class's probability loses; "background/without p", and
    "surroundings/independent", the share of other surroundings that cost less than IRRELEVANT. A swap is the one that
    costs most. Those of ``agreement`` are "SOURCE/correlation" and, at the primary head, "SOURCE/sensitivity" and by
    threshold "SOURCE/preservation@T", "SOURCE/deletion@T" and "SOURCE/distractibility@T".
    """

    key: str
    label: int
    correct: bool
    importance: dict[str, Numbers] = field(default_factory=dict)
    agreement: dict[str, Numbers] = field(default_factory=dict)


@dataclass(frozen=True)
class _Variants:
    """One image and its changed copies: logits (n, classes) by head, and the rows of each copy."""

    logits: Mapping[str, np.ndarray]
    without: dict[str, int]
    swaps: dict[tuple[str, str], int]
    around: dict[str, int]
    rivals: dict[str, int]
    """By head, where the class is explained against one."""

    def loss(self, head: str, label: int, row: int) -> float:
        """Return what the class's logit loses, or what it is ahead of its rival's."""
        values = self.logits[head][:, label]
        if head in self.rivals:
            values = values - self.logits[head][:, self.rivals[head]]
        return float(values[0] - values[row])

    def lost(self, head: str, label: int, row: int) -> float:
        """Return what the class's probability loses."""
        values = softmax(self.logits[head], axis=1)[:, label]
        return float(values[0] - values[row])


class PartProbe:
    """Measures the importance of the parts of images, and explanations of them; see the module.

    ``masks`` gives the masks of a sample's parts, and BACKGROUND's, on the pixels that are explained.
    ``interventions`` are those of `kept_interventions`, which several probes can share.
    """

    def __init__(
        self,
        dataset: Dataset,
        answer: Answer,
        explain: Explain,
        masks: Callable[[Sample], Mapping[str, np.ndarray]],
        primary: str,
        seed: int = 0,
        rival: ChooseRival | None = None,
        interventions: Interventions | None = None,
    ) -> None:
        self.answer, self.explain, self.masks = answer, explain, masks
        self.labels = {name: label for label, name in enumerate(dataset.classes)}
        self.primary, self.seed, self.rival = primary, seed, rival
        self.interventions = interventions or kept_interventions(dataset)

    def measure(self, sample: Sample) -> PartMeasures:
        """Return the measures of one image."""
        masks = {name: mask for name, mask in self.masks(sample).items() if mask.any()}
        image, variants = self._variants(sample, masks)
        found = PartMeasures(sample.key, sample.label, int(variants.logits[self.primary][0].argmax()) == sample.label)
        for head in variants.logits:
            found.importance[head] = _importance(variants, head, sample.label)
            shares = self._shares(sample, image, variants, head, masks)
            truth = {part: variants.loss(head, sample.label, row) for part, row in variants.without.items()}
            found.agreement[head] = {
                f"{source}/correlation": value
                for source, each in shares.items()
                if (value := correlation(truth, each)) is not None
            }
            if head == self.primary:
                found.agreement[head] |= self._sensitivity(sample, image, variants)
                found.agreement[head] |= self._distractibility(sample, variants, shares)
                if found.correct:
                    found.agreement[head] |= self._checks(sample, variants, shares)
        return found

    def _variants(self, sample: Sample, masks: Collection[str]) -> tuple[Image.Image, _Variants]:
        change = self.interventions
        pictures = [change.without(sample, ())]
        own = pictures[0].tobytes()

        def rows(named: Mapping[Any, Image.Image]) -> dict[Any, int]:
            changed = {name: picture for name, picture in named.items() if picture.tobytes() != own}
            pictures.extend(changed.values())
            return {name: len(pictures) - len(changed) + i for i, name in enumerate(changed)}

        without = rows({part: change.without(sample, (part,)) for part in change.removable if part in masks})
        swaps = rows(
            {
                key: picture
                for key, picture in change.swapped(sample).items()
                if key[0] in masks and key[1] in self.labels
            }
        )
        around = rows(change.surroundings(sample))
        logits = self.answer(pictures)
        rivals = {} if self.rival is None else {
            head: self.rival(head, values[0], sample.label) for head, values in logits.items()
        }  # fmt: skip
        return pictures[0], _Variants(logits, without, swaps, around, rivals)

    def _shares(
        self, sample: Sample, image: Image.Image, variants: _Variants, head: str, masks: Mapping[str, np.ndarray]
    ) -> dict[str, Shares]:
        """Return the explanations by source, those beside the maps first."""
        parts = list(variants.without)
        drawn = numpy_generator("random parts", self.seed, sample.key, head).dirichlet(np.ones(len(parts) + 1))
        gains = {part: variants.loss(head, sample.label, row) for part, row in variants.without.items()}
        total = sum(gain for gain in gains.values() if gain > 0) or 1.0
        return {
            ORACLE: {part: gain / total for part, gain in gains.items()},
            AREA: {name: float(mask.mean()) for name, mask in masks.items()},
            RANDOM: dict(zip([*parts, BACKGROUND], drawn.tolist(), strict=True)),
            **self.explain(sample, image, head, sample.label, variants.rivals.get(head)),
        }

    def _sensitivity(self, sample: Sample, image: Image.Image, variants: _Variants) -> Numbers:
        """Return target sensitivity by source: what a swapped part says for either class.

        On the image, the part must count more for its own class than for the sibling whose form it could have; on the
        swapped image the other way round. Where the swap does not move both logits so, the image does not count.
        FunnyBirds compares two other classes, each of which shares other parts with the image's.
        """
        scores: dict[str, list[float]] = {}
        for (part, name), row in variants.swaps.items():
            other = self.labels[name]
            logits = variants.logits[self.primary]
            own_loss, gain = (float(logits[0, label] - logits[row, label]) for label in (sample.label, other))
            if not own_loss > 0 > gain:
                continue
            swapped = self.interventions.swapped(sample)[part, name]
            for picture, one, two in ((image, sample.label, other), (swapped, other, sample.label)):
                ours, theirs = (
                    self.explain(sample, picture, self.primary, label, None if self.rival is None else rival)
                    for label, rival in ((one, two), (two, one))
                )
                for source, against in theirs.items():
                    scores.setdefault(source, []).append(_more(ours[source].get(part, 0.0), against.get(part, 0.0)))
            scores.setdefault(ORACLE, []).append(_more(own_loss, gain))
            scores.setdefault(RANDOM, []).append(
                float(numpy_generator("random class", self.seed, sample.key, part, other).integers(2))
            )
        return {f"{source}/sensitivity": float(np.mean(each)) for source, each in scores.items()}

    def _distractibility(self, sample: Sample, variants: _Variants, shares: Mapping[str, Shares]) -> Numbers:
        """Return by source and threshold 1 − the share of irrelevant regions that count as important."""
        least = IRRELEVANT * softmax(variants.logits[self.primary][0])[sample.label]
        lost = {part: variants.lost(self.primary, sample.label, row) for part, row in variants.without.items()}
        if variants.around:
            lost[BACKGROUND] = _background(variants, self.primary, sample.label)
        idle = [name for name, value in lost.items() if value < least]
        return {
            f"{source}/distractibility@{least}": 1 - float(np.mean([each.get(name, 0.0) > least for name in idle]))
            for source, each in shares.items()
            for least in THRESHOLDS
            if idle
        }

    def _checks(self, sample: Sample, variants: _Variants, shares: Mapping[str, Shares]) -> Numbers:
        """Return by source and threshold whether important parts alone keep the answer, and their loss changes it."""
        parts = frozenset(variants.without)
        important = {
            (source, least): frozenset(part for part in parts if each.get(part, 0.0) > least)
            for source, each in shares.items()
            for least in THRESHOLDS
        }
        sets = list(dict.fromkeys([*important.values(), *(parts - kept for kept in important.values())]))
        logits = self.answer([self.interventions.without(sample, removed) for removed in sets])[self.primary]
        stays = dict(zip(sets, (logits.argmax(axis=1) == sample.label).tolist(), strict=True))
        found: Numbers = {}
        for (source, least), kept in important.items():
            found[f"{source}/preservation@{least}"] = float(stays[parts - kept])
            found[f"{source}/deletion@{least}"] = float(not stays[kept])
        return found


def probe(
    model: Recognizer,
    dataset: Dataset,
    config: TrainConfig,
    *,
    methods: Sequence[str],
    stages: tuple[str, ...] = DEFAULT_STAGES,
    head: str | None = None,
    rival: str | None = None,
    seed: int = 0,
    interventions: Interventions | None = None,
) -> PartProbe:
    """Return the probe of a trained model: its answers, and its maps of these CAM methods and stages as explanations.

    ``head`` is the output of the checks (by default the primary one), ``rival`` a row of RIVALS.
    """
    model, device = folded(model), next(model.parameters()).device

    def inputs(pictures: Sequence[Image.Image]) -> Tensor:
        crops = [centre_crop(resize(one.convert("RGB"), config.resize_to), config.image_size) for one in pictures]
        return normalize(torch.stack([to_tensor(crop) for crop in crops]).to(device))

    def answer(pictures: Sequence[Image.Image]) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            found = [model(inputs(pictures[i : i + BATCH])) for i in range(0, len(pictures), BATCH)]
        return {head: torch.cat([one[head] for one in found]).double().cpu().numpy() for head in model.heads}

    @lru_cache(1)
    def masks(sample: Sample) -> dict[str, np.ndarray]:
        found = part_masks(dataset, sample, config)
        body = found.pop(BODY, None)
        return found if body is None else found | {BACKGROUND: ~body}

    def explain(sample: Sample, picture: Image.Image, head: str, label: int, against: int | None) -> dict[str, Shares]:
        other = None if against is None else torch.tensor([against], device=device)
        classes = torch.tensor([label], device=device)
        maps = cams(model, inputs([picture]), methods, head=head, classes=classes, stages=stages, rival=other)
        found = {}
        for method, each in maps.items():
            for stage, raw in each.raw.items():
                values = mass(enlarge(raw, config.image_size)[0].float().cpu().numpy())
                found[f"{method} {stage}"] = {name: float(values[mask].sum()) for name, mask in masks(sample).items()}
        return found

    def choose(head: str, logits: np.ndarray, label: int) -> int:
        row = torch.from_numpy(logits)[None].to(device)
        return int(RIVALS[rival or ""](model, head, row, torch.tensor([label], device=device))[0])

    shown = model.check_head(head or model.primary)
    return PartProbe(dataset, answer, explain, masks, shown, seed, choose if rival else None, interventions)


class _Kept(Interventions):
    """Interventions that keep the pictures of the last sample, for probes that look at the same."""

    def __init__(self, made_by: Interventions) -> None:
        self.made_by, self.removable = made_by, made_by.removable
        self._sample: Sample | None = None
        self._kept: dict[Any, Any] = {}

    def _once(self, sample: Sample, key: Any, make: Callable[[], Any]) -> Any:
        if sample is not self._sample:
            self._sample, self._kept = sample, {}
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def without(self, sample: Sample, parts: Collection[str]) -> Image.Image:
        found: Image.Image = self._once(sample, frozenset(parts), lambda: self.made_by.without(sample, parts))
        return found

    def swapped(self, sample: Sample) -> dict[tuple[str, str], Image.Image]:
        found: dict[tuple[str, str], Image.Image] = self._once(sample, "swapped", lambda: self.made_by.swapped(sample))
        return found

    def surroundings(self, sample: Sample) -> dict[str, Image.Image]:
        found: dict[str, Image.Image] = self._once(sample, "around", lambda: self.made_by.surroundings(sample))
        return found


def kept_interventions(dataset: Dataset) -> Interventions:
    """Return what can be changed in a data set's images; raises DataError if nothing can."""
    if dataset.interventions is None:
        raise DataError(
            f"protocol = parts: nothing is known of the parts of {dataset.name!r} that could be left out. Choose a run "
            "that was trained on plumage or on FunnyBirds, or the protocol regions."
        )
    return _Kept(dataset.interventions)


def correlation(truth: Mapping[str, float], shares: Shares) -> float | None:
    """Return Spearman's ρ of true importances and an explanation, which scores 0 where it says nothing.

    Single deletion of FunnyBirds is (1 + ρ) / 2. None for fewer than LEAST parts, or where either says the same of all.
    """
    one, other = [*truth.values()], [shares.get(part, 0.0) for part in truth]
    if len(one) < LEAST or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one, other).statistic)


def _more(ours: float, theirs: float) -> float:
    return 0.5 if ours == theirs else float(ours > theirs)


def _background(variants: _Variants, head: str, label: int) -> float:
    return float(np.mean([variants.lost(head, label, row) for row in variants.around.values()]))


def _importance(variants: _Variants, head: str, label: int) -> Numbers:
    found: Numbers = {}
    for part, row in variants.without.items():
        found[f"{part}/without"] = variants.loss(head, label, row)
        found[f"{part}/without p"] = variants.lost(head, label, row)
    for (part, _), row in variants.swaps.items():
        for key, value in ((f"{part}/swap", variants.loss), (f"{part}/swap p", variants.lost)):
            found[key] = max(found.get(key, -np.inf), value(head, label, row))
    if variants.around:
        least = IRRELEVANT * softmax(variants.logits[head][0])[label]
        losses = [variants.lost(head, label, row) for row in variants.around.values()]
        found[f"{BACKGROUND}/without p"] = float(np.mean(losses))
        found["surroundings/independent"] = float(np.mean([value < least for value in losses]))
    return found


# All images


def summed_up(
    measured: Sequence[PartMeasures], seed: int, thresholds: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Return means over images with intervals, by head; at the primary head the checks at each source's threshold.

    ``importance[head]`` and ``agreement[head]`` are by the keys of `PartMeasures`, ``thresholds`` by source: those
    given, or the best for these images.
    """
    heads = list(measured[0].importance)
    summary: dict[str, Any] = {
        "images": len(measured),
        "correct": sum(one.correct for one in measured),
        "importance": {head: _means([one.importance[head] for one in measured], seed, head) for head in heads},
    }
    best = dict(thresholds or {})
    agreement = {}
    for head in heads:
        numbers = [one.agreement[head] for one in measured]
        best |= {} if thresholds else best_thresholds(numbers)
        agreement[head] = _means([at_thresholds(one, best) for one in numbers], seed, head)
    return summary | {"agreement": agreement, "thresholds": best}


def _means(numbers: Sequence[Numbers], seed: int, head: str) -> dict[str, dict[str, float]]:
    return means(numbers, derive("bootstrap", seed, "parts", head))


def best_thresholds(numbers: Sequence[Numbers]) -> dict[str, float]:
    """Return for each source the threshold with the largest mean of the checks plus distractibility, as FunnyBirds."""
    values: dict[tuple[str, float], dict[str, list[float]]] = {}
    for one in numbers:
        for key, value in one.items():
            name, _, least = key.partition("@")
            if least:
                source, _, measure = name.partition("/")
                values.setdefault((source, float(least)), {}).setdefault(measure, []).append(value)
    score = {
        place: np.mean([np.mean(each.get(name, [0.0])) for name in ("preservation", "deletion")])
        + np.mean(each.get("distractibility", [0.0]))
        for place, each in values.items()
    }
    sources = dict.fromkeys(source for source, _ in score)
    return {
        one: max((least for source, least in score if source == one), key=lambda t: score[one, t]) for one in sources
    }


def at_thresholds(numbers: Numbers, best: Mapping[str, float]) -> Numbers:
    """Return an image's numbers with each threshold measure at its source's threshold alone."""
    found: Numbers = {}
    for key, value in numbers.items():
        name, _, least = key.partition("@")
        if not least or float(least) == best[name.partition("/")[0]]:
            found[name] = value
    return found


def shared_thresholds(a: Sequence[PartMeasures], b: Sequence[PartMeasures], heads: tuple[str, str]) -> dict[str, float]:
    """Return the best thresholds for two models' measures together: with two, they and not the maps could differ."""
    return best_thresholds([one.agreement[head] for head, each in zip(heads, (a, b), strict=True) for one in each])


def compared(
    a: Sequence[PartMeasures], b: Sequence[PartMeasures], heads: tuple[str, str], seed: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Return b − a at one head each, image by image: mean, interval, and Wilcoxon's signed-rank p after Holm.

    Both are of the same images in the same order; numbers that either lacks do not count.
    """
    found = {}
    for kind in ("importance", "agreement"):
        pairs = [(getattr(one, kind)[heads[0]], getattr(two, kind)[heads[1]]) for one, two in zip(a, b, strict=True)]
        if kind == "agreement":
            best = shared_thresholds(a, b, heads)
            pairs = [(at_thresholds(one, best), at_thresholds(two, best)) for one, two in pairs]
        numbers = [{key: two[key] - one[key] for key in one if key in two} for one, two in pairs]
        about = means(numbers, derive("bootstrap", seed, "parts", kind))
        p = holm([_signed_rank([one[key] for one in numbers if key in one]) for key in about])
        found[kind] = {key: ends | {"p": value} for (key, ends), value in zip(about.items(), p, strict=True)}
    return found


def _signed_rank(differences: Sequence[float]) -> float:
    return float(wilcoxon(differences, method="asymptotic").pvalue) if np.any(differences) else 1.0
