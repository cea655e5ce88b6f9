"""The Perturb page: one image perturbed live, for one run or two.

What a slider moves is one fragment of JPEGs, HTML bars and cached predictions, so that it answers at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st
from PIL.Image import Image

from app.shared.bar import bar
from app.shared.cached_models import explain_once, predict_once, predictor_of
from app.shared.charts import confidence_bars, mark
from app.shared.errors import guarded, plain
from app.shared.glossary import meaning
from app.shared.images import picture
from app.shared.palette import head_color
from app.shared.panels import Picked, no_runs_yet, run_colors, unknown_class
from app.shared.session import remember
from app.shared.wording import name_of_run
from app.views.perturb.change import Change, chosen_change
from pmsi.perturbations import PERTURBATIONS, perturb
from pmsi.pictures.encoding import jpeg
from pmsi.pictures.overlays import overlay, peak_words
from pmsi.pictures.sheets import enlarged
from pmsi.predictor import Guess, Prediction
from pmsi.runs import Run

INTRO = (
    "Does the prediction survive a change of light or a noisy sensor? Draws depend on the seed and on the image alone, "
    "so two models of one image size are shown the same pixels."
)
SIDE = 288
"""Pictures with a map over them are drawn at least this large."""
THUMB = 150
"""Side of a picture of the strip, in pixels."""


@dataclass(frozen=True)
class View:
    """What a run sees before and after, and what was drawn in words."""

    before: Image
    after: Image
    words: str


def page() -> None:
    """Draw the page."""
    st.title("Perturb an image", anchor=False, help=f"{INTRO}\n\n{meaning('severity', 'k', 'σ')}")
    chosen = bar(here="perturb")
    if chosen.run is None:
        no_runs_yet("Robustness is measured on a trained model.")
    elif chosen.picked is None:
        st.info("Choose an image to perturb.", icon=":material/image:")
    else:
        bench(chosen.picked, chosen.runs, chosen.output)


@st.fragment
@guarded()
def bench(picked: Picked, runs: Sequence[Run], output: str) -> None:
    """Draw an image before and after a perturbation, and what an output of one run or two answers."""
    left, right = st.columns([5, 4] if len(runs) == 1 else [4, 5], gap="medium")
    with left:
        place, knobs = st.container(), st.container()
        with st.container(horizontal=True, vertical_alignment="center"):
            maps = remember(st.toggle, "maps", False, "Grad-CAM maps before and after")
            more = st.popover("More", icon=":material/tune:")
        with knobs:
            change = chosen_change(more)
    views = _views(runs, picked, change)
    with place:
        _pictures(picked, views[0], change)
    colors = run_colors(runs)
    for column, run, view in zip(right.columns(len(runs), gap="medium"), runs, views, strict=True):
        with column:
            _answer(run, picked, view, change, output, colors[run.id] if len(runs) > 1 else None)
    if maps:
        for run, view in zip(runs, views, strict=True):
            _maps(run, view)
    _strip(views[0].before, picked, change)


def _views(runs: Sequence[Run], picked: Picked, change: Change) -> list[View]:
    """Return what each run sees; runs that see the same before see the same after."""
    views: list[View] = []
    for run in runs:
        before = predictor_of(run).prepare(picked.image)
        same = next((view for view in views if view.before == before), None)
        views.append(same or View(before, *change.applied(before, picked.key)))
    return views


def _pictures(picked: Picked, view: View, change: Change) -> None:
    """Show the image before and after; where nothing is changed, once."""
    first, second = st.columns(2, gap="small", wrap=False)
    alt = f"{picked.title}, as the network sees it"
    with first:
        picture(jpeg(view.before), alt=alt, caption="**Before**" if change.changes else "As the network sees it")
    if change.changes:
        with second:
            picture(jpeg(view.after), alt=f"{picked.title}, {view.words}", caption=f"**After** · {view.words}")


def _answer(run: Run, picked: Picked, view: View, change: Change, output: str, color: str | None) -> None:
    """Show a run's prediction before and after, as a line and as bars; ``color`` is the run's, if there are two."""
    before, after = predict_once(run, view.before), predict_once(run, view.after)
    head = output if output in before.heads else before.primary
    if color:
        st.html(f'<div style="border-top:4px solid {color};border-radius:2px"></div>')
        st.markdown(f"**{plain(name_of_run(run))}**")
    was, now = before.heads[head], after.heads[head]
    strange = unknown_class(run, picked.label, was[0].name)
    _sentence(was[0], now[0], change, None if strange else picked.label)
    if strange:
        st.caption(f":material/info: {plain(strange)}")
    bars = confidence_bars(was, now if change.changes else None, color or head_color(head), truth=picked.label)
    st.html(bars)
    st.caption(f"Probability at output {head}" + (": grey before, coloured after." if change.changes else "."))
    with st.expander("Every output"):
        _outputs(before, after, change, picked.label)


def _named(guess: Guess, truth: str | None) -> str:
    return f"**{plain(guess.name)}**{mark(guess.name, truth)} ({guess.probability:.0%})"


def _sentence(was: Guess, now: Guess, change: Change, truth: str | None) -> None:
    """Show the answer before and after in a line; ``truth`` is None where the run cannot know it."""
    if not change.changes:
        st.markdown(f"{_named(was, truth)}.")
    elif was.label == now.label:
        st.markdown(f"Still {_named(now, truth)}, before {was.probability:.0%}.")
    else:
        st.markdown(f"From {_named(was, truth)} to {_named(now, truth)}.")


def _outputs(before: Prediction, after: Prediction, change: Change, truth: str | None) -> None:
    """Show what each output answers before and after, as a table."""

    def words(guesses: Sequence[Guess]) -> str:
        return f"{guesses[0].probability:.0%} {plain(guesses[0].name)}{' ✓' if guesses[0].name == truth else ''}"

    rows: list[dict[str, Any]] = [
        {"Output": head, "Before": words(guesses)} | ({"After": words(after.heads[head])} if change.changes else {})
        for head, guesses in before.heads.items()
    ]
    st.table(rows, hide_index=True, border="horizontal")


def _maps(run: Run, view: View) -> None:
    """Show the maps of the last three stages for the class predicted before, before and after."""
    first = explain_once(run, view.before, predictor_of(run).primary, None)
    second = explain_once(run, view.after, first.head, first.label)
    explained = predictor_of(run).classes[first.label]
    st.markdown(
        f"**{plain(name_of_run(run))}**: evidence for {plain(explained)} at output {first.head}; "
        "both maps of a stage up to the larger of their peaks"
    )
    for column, (stage, clean) in zip(st.columns(len(first.maps), gap="medium"), first.maps.items(), strict=True):
        pair = (("before", view.before, clean), ("after", view.after, second.maps[stage]))
        top = max(float(values.max()) for _, _, values in pair) or 1.0
        for place, (words, image, values) in zip(column.columns(2, gap="small", wrap=False), pair, strict=True):
            with place:
                shown, alt = overlay(enlarged(image, SIDE), values, top), f"{stage} {words}: evidence for {explained}"
                picture(jpeg(shown), alt=alt, caption=f"**{stage}** {words} · {peak_words(values)}")


def _strip(prepared: Image, picked: Picked, change: Change) -> None:
    """Show the image at each usual severity of the perturbation that is chosen: the draw of now, scaled."""
    row = PERTURBATIONS[change.strip]
    drawn_at = dict(change.steps)[change.strip] or row.levels[-1]
    st.caption(f"{row.title}: one draw at each of its usual severities, {row.symbol} in {row.unit}")
    with st.container(horizontal=True, gap="small"):
        for level in (0, *row.levels):
            seen, _ = perturb(prepared, change.strip, level, seed=change.seed, key=picked.key, drawn_at=drawn_at)
            words, small = f"{row.symbol} = {level:g}", jpeg(seen.resize((THUMB, THUMB)))
            st.image(small, alt=f"{row.title}, {words}", caption=words, width=THUMB, output_format="JPEG")
