"""One image under live perturbations: one or two runs, before and after.

It is one fragment of JPEGs, HTML bars and cached predictions, so that a slider answers at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st
from PIL.Image import Image

from app.shared.cached_models import explain_once, predict_once, predictor_of
from app.shared.charts import confidence_bars
from app.shared.errors import guarded, plain
from app.shared.image_links import PAIR, image_actions
from app.shared.images import picture
from app.shared.palette import head_color
from app.shared.panels import (
    Picked,
    beside_picker,
    default_run,
    image_picker,
    linked_label,
    run_colors,
    run_picker,
    unknown_class,
)
from app.shared.session import choice, choose, remember
from app.shared.wording import name_of_run
from pmsi.perturbations import PERTURBATIONS, Perturbation, by_effect, perturb
from pmsi.pictures.encoding import jpeg
from pmsi.pictures.overlays import overlay, peak_words
from pmsi.pictures.sheets import enlarged
from pmsi.predictor import Prediction
from pmsi.runs import Run
from pmsi.runs.comparison import baseline_for

SIGMA = 64
"""Largest σ on the slider; beyond it a photo is hardly recognisable."""
NOISES = {"gaussian_noise": "Each channel", "gaussian_noise_mono": "Grey", "gaussian_noise_legacy": "Legacy snippet"}
SIDE = 288
"""Pictures with a map over them are drawn at least this large."""
THUMB = 150
"""Side of a picture of the strip, in pixels."""

Step = tuple[str, float]
"""A perturbation and its severity."""


@dataclass(frozen=True)
class Change:
    """What is done to the image: one step after another, the seed, and the perturbation of the strip."""

    steps: tuple[Step, ...]
    seed: int
    strip: str

    def applied(self, image: Image, key: str) -> tuple[Image, str]:
        """Return the image after all steps, and what was drawn in words."""
        words = []
        for name, severity in self.steps:
            if severity > 0:
                image, factors = perturb(image, name, severity, seed=self.seed, key=key)
                words.append(described(PERTURBATIONS[name], name, severity, factors))
        return image, ", then ".join(words) or "unchanged"


def described(row: Perturbation, name: str, severity: float, factors: Any) -> str:
    """Return a perturbation and what it drew, in words."""
    if "order" in factors:
        return ", ".join(f"{part} × {factors[part]:.2f}" for part in factors["order"])
    if name in NOISES:
        return f"noise with σ = {severity:g}"
    drawn = [f"{part.replace('_', ' ')} {value:.2f}" for part, value in factors.items() if isinstance(value, float)]
    title = row.title.removesuffix(" (ImageNet-C)").lower() if row.title != "JPEG" else row.title
    return ", ".join([f"{title}, {row.symbol} = {severity:g}", *drawn])


@st.fragment
@guarded()
def bench(runs: list[Run]) -> None:
    """Draw the bench."""
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, height="stretch"):
        first = default_run(runs, linked_label())
        run = run_picker(runs, default=first.id if first else "")
        assert run is not None
        other = _second(run, runs)
        picked = image_picker(run)
        if picked is not None:
            image_actions(picked, here="perturb", run=run.id)
    with right, st.container(border=True, height="stretch"):
        change = _change()
        maps = remember(st.toggle, "maps", False, "Grad-CAM maps before and after")
    if picked is None:
        st.info("Choose an image to perturb.", icon=":material/image:")
        return
    shown = [run] if other is None or other == run else [run, other]
    colors = run_colors(shown)
    prepared = predictor_of(run).prepare(picked.image)
    perturbed, words = change.applied(prepared, picked.key)
    pictures, numbers = st.columns([2, 1.1] if len(shown) == 1 else [1.3, 1.6], gap="medium")
    _pictures(pictures, picked, prepared, perturbed, words)
    for column, each in zip(numbers.columns(len(shown), gap="medium"), shown, strict=True):
        with column:
            _answer(each, picked, change, colors[each.id] if len(shown) > 1 else None)
    if maps:
        for each in shown:
            _maps(each, picked, change)
    _strip(prepared, picked, change)


def _second(run: Run, runs: list[Run]) -> Run | None:
    """Let the visitor choose a run beside the first; the newest baseline that began like it is one click away."""
    baseline = baseline_for(run, runs)
    absent = choice("beside") in ("", run.id)
    if baseline is not None and absent and st.button("Beside the baseline", icon=":material/compare_arrows:"):
        choose("beside", baseline.id)
    return beside_picker(run, runs)


def _change() -> Change:
    """Return what is done to the image, as chosen."""
    rows = by_effect()
    _follow_old_kind(rows)
    kind = remember(st.segmented_control, "kind", PAIR, "Perturbation", [PAIR, *rows], required=True)
    steps = _pair() if kind == PAIR else _single(rows[kind])
    seed = remember(st.number_input, "draw", 0, "Seed", 0, 9999, width=130)
    return Change(steps, int(seed), next((name for name, at in reversed(steps) if at > 0), steps[0][0]))


def _follow_old_kind(rows: Mapping[str, list[str]]) -> None:
    """Open what a link of before means: it names the family that a row is from, in place of its effect."""
    kind = choice("kind", PAIR)
    if kind in (PAIR, *rows):
        return
    of_family = (row for row in PERTURBATIONS.values() if row.family == kind)
    if row := PERTURBATIONS.get(choice("what"), next(of_family, None)):
        choose("kind", row.effect)


def _pair() -> tuple[Step, ...]:
    k = remember(
        st.slider,
        "k",
        0.5,
        "Colour jitter k",
        0.0,
        1.0,
        step=0.05,
        help="Brightness, contrast and saturation, each times a factor from 1 − k to 1 + k. The paper's k is 1.",
    )
    sigma = remember(
        st.slider,
        "sigma",
        0,
        "Gaussian noise σ (grey levels of 255)",
        0,
        SIGMA,
        help="Added to every pixel. The paper's σ is 5.",
    )
    noise = remember(
        st.segmented_control,
        "noise",
        "gaussian_noise",
        "Noise is drawn for",
        NOISES,
        required=True,
        help="Each channel on its own; one value for all three; or as a widely copied snippet does it: grey, "
        "truncated, and wrapped around below 0.",
    )
    return ("color_jitter", float(k)), (noise, float(sigma))


def _single(names: Sequence[str]) -> tuple[Step, ...]:
    """Let the visitor choose one perturbation of an effect, and its severity."""
    name = remember(st.selectbox, "what", names[0], "Which", {name: PERTURBATIONS[name].title for name in names})
    row = PERTURBATIONS[name]
    start, top = row.levels[len(row.levels) // 2], min(row.maximum, max(row.levels))
    label = f"{row.symbol} ({row.unit})"
    if row.whole:
        at: float = remember(st.slider, f"at-{name}", int(start), label, 0, int(top), help=row.help)
    else:
        at = remember(st.slider, f"at-{name}", float(start), label, 0.0, float(top), step=top / 40, help=row.help)
    return ((name, float(at)),)


def _pictures(place: Any, picked: Picked, prepared: Image, perturbed: Image, words: str) -> None:
    first, second = place.columns(2, gap="small", wrap=False)
    with first:
        picture(jpeg(prepared), alt=f"{picked.title}, as the network sees it", caption="**Before**")
    with second:
        picture(jpeg(perturbed), alt=f"{picked.title}, {words}", caption=f"**After** · {words}")


def _answer(run: Run, picked: Picked, change: Change, color: str | None) -> None:
    """Show a run's prediction before and after, as a line and as bars; ``color`` is the run's, if there are two."""
    prepared, perturbed = _seen(run, picked, change)
    before, after = predict_once(run, prepared), predict_once(run, perturbed)
    if color:
        st.html(f'<div style="border-top:4px solid {color};border-radius:2px"></div>')
        st.markdown(f"**{plain(name_of_run(run))}**")
    strange = unknown_class(run, picked.label, before.best.name)
    _sentence(before, after, None if strange else picked.label)
    if strange:
        st.caption(f":material/info: {plain(strange)}")
    bars = color or head_color(before.primary)
    st.html(confidence_bars(before.heads[before.primary], after.heads[after.primary], bars, truth=picked.label))
    st.caption(f"Probability at output {before.primary}: grey before, coloured after.")
    with st.expander("Every output"):
        for head, guesses in before.heads.items():
            st.markdown(f"**{head}**")
            st.html(confidence_bars(guesses, after.heads[head], head_color(head), top=3, truth=picked.label))


def _seen(run: Run, picked: Picked, change: Change) -> tuple[Image, Image]:
    """Return what a run sees before and after."""
    prepared = predictor_of(run).prepare(picked.image)
    return prepared, change.applied(prepared, picked.key)[0]


def _sentence(before: Prediction, after: Prediction, truth: str | None) -> None:
    """Show the prediction before and after in a line."""

    def named(guess: Any) -> str:
        mark = "" if truth is None else " ✓" if guess.name == truth else " ✗"
        return f"**{plain(guess.name)}**{mark} ({guess.probability:.0%})"

    if before.best.label == after.best.label:
        st.markdown(f"Still {named(after.best)}, before {before.best.probability:.0%}.")
    else:
        st.markdown(f"From {named(before.best)} to {named(after.best)}.")


def _maps(run: Run, picked: Picked, change: Change) -> None:
    """Show the maps of the last three stages for the class predicted before, before and after."""
    prepared, perturbed = _seen(run, picked, change)
    first = explain_once(run, prepared, predictor_of(run).primary, None)
    second = explain_once(run, perturbed, first.head, first.label)
    explained = predictor_of(run).classes[first.label]
    st.markdown(
        f"**{plain(name_of_run(run))}**: evidence for {plain(explained)} at output {first.head}; "
        "both maps of a stage up to the larger of their peaks"
    )
    for column, (stage, clean) in zip(st.columns(len(first.maps), gap="medium"), first.maps.items(), strict=True):
        pair = (("before", prepared, clean), ("after", perturbed, second.maps[stage]))
        top = max(float(values.max()) for _, _, values in pair) or 1.0
        for place, (words, image, values) in zip(column.columns(2, gap="small", wrap=False), pair, strict=True):
            with place:
                shown = jpeg(overlay(enlarged(image, SIDE), values, top))
                picture(
                    shown,
                    alt=f"{stage} {words}: evidence for {explained}",
                    caption=f"**{stage}** {words} · {peak_words(values)}",
                )


def _strip(prepared: Image, picked: Picked, change: Change) -> None:
    """Show the image at each usual severity of the perturbation that is chosen: the draw of now, scaled."""
    row = PERTURBATIONS[change.strip]
    drawn_at = dict(change.steps)[change.strip] or row.levels[-1]
    st.caption(f"{row.title}: one draw at each of its usual severities, {row.symbol} in {row.unit}")
    with st.container(horizontal=True, gap="small"):
        for level in (0, *row.levels):
            seen, _ = perturb(prepared, change.strip, level, seed=change.seed, key=picked.key, drawn_at=drawn_at)
            st.image(
                jpeg(seen.resize((THUMB, THUMB))),
                alt=f"{row.title}, {row.symbol} = {level:g}",
                caption=f"{row.symbol} = {level:g}",
                width=THUMB,
                output_format="JPEG",
            )
