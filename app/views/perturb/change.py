"""What is done to the image of the Perturb page: the widgets that choose it, and its application."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st
from PIL.Image import Image
from streamlit.delta_generator import DeltaGenerator

from app.shared.image_links import PAIR
from app.shared.session import choice, choose, remember, switch
from pmsi.perturbations import PERTURBATIONS, Perturbation, by_effect, perturb

SIGMA = 64
"""Largest σ on the slider; beyond it a photo is hardly recognisable."""
NOISES = {"gaussian_noise": "Each channel", "gaussian_noise_mono": "Grey", "gaussian_noise_legacy": "Legacy snippet"}

Step = tuple[str, float]
"""A perturbation and its severity."""


@dataclass(frozen=True)
class Change:
    """What is done to the image: one step after another, the seed, and the perturbation of the strip."""

    steps: tuple[Step, ...]
    seed: int
    strip: str

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return any(severity > 0 for _, severity in self.steps)

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


def chosen_change(more: DeltaGenerator) -> Change:
    """Show what can be done to the image, the rarer choices in the drawer ``more``, and return what is chosen."""
    rows = by_effect()
    _follow_old_kind(rows)
    kind = remember(
        st.pills, "kind", PAIR, "Perturbation", [PAIR, *rows], required=True, label_visibility="collapsed", wrap=True
    )
    seed = remember(more.number_input, "draw", 0, "Seed of the draw", 0, 9999)
    steps = _pair(more) if kind == PAIR else _single(rows[kind])
    return Change(steps, int(seed), next((name for name, at in reversed(steps) if at > 0), steps[0][0]))


def _follow_old_kind(rows: Mapping[str, list[str]]) -> None:
    """Open what a link of before means: it names the family that a row is from, in place of its effect."""
    kind = choice("kind", PAIR)
    if kind in (PAIR, *rows):
        return
    of_family = (row for row in PERTURBATIONS.values() if row.family == kind)
    if row := PERTURBATIONS.get(choice("what"), next(of_family, None)):
        choose("kind", row.effect)


def _pair(more: DeltaGenerator) -> tuple[Step, ...]:
    """Let the visitor choose both severities, and in the drawer ``more`` which noise it is."""
    left, right = st.columns(2, gap="medium")
    help = "Brightness, contrast and saturation, each times a factor from 1 − k to 1 + k. The paper's k is 1."
    k = remember(left.slider, "k", 0.5, "Colour jitter k", 0.0, 1.0, step=0.05, help=help)
    help = "In grey levels of 255, added to every pixel. The paper's σ is 5."
    sigma = remember(right.slider, "sigma", 0, "Gaussian noise σ", 0, SIGMA, help=help)
    help = (
        "Each channel on its own; one value for all three; or as a widely copied snippet does it: grey, truncated, and "
        "wrapped around below 0."
    )
    shape = {"label_visibility": "visible", "help": help}
    noise = switch("noise", "gaussian_noise", "Noise is drawn for", NOISES, more, **shape)
    return ("color_jitter", float(k)), (noise, float(sigma))


def _single(names: Sequence[str]) -> tuple[Step, ...]:
    """Let the visitor choose one perturbation of an effect, and its severity."""
    left, right = st.columns(2, gap="medium")
    titles = {name: PERTURBATIONS[name].title for name in names}
    name = remember(left.selectbox, "what", names[0], "Which", titles)
    row = PERTURBATIONS[name]
    start, top = row.levels[len(row.levels) // 2], min(row.maximum, max(row.levels))
    label, more = f"{row.symbol} ({row.unit})", {"format": "%g", "help": row.help}
    if row.whole:
        at: float = remember(right.slider, f"at-{name}", int(start), label, 0, int(top), **more)
    else:
        at = remember(right.slider, f"at-{name}", float(start), label, 0.0, float(top), step=top / 40, **more)
    return ((name, float(at)),)
