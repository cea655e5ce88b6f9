"""Figures of several pages: the patch rule, predictions, and the bars of Fig. 1.

Figures that follow a slider are HTML, which is drawn faster than a Plotly figure.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from app.shared.glossary import meaning
from app.shared.palette import CATEGORICAL, NEUTRAL, head_color, styled
from pmsi.augment.rule import PhaseRule
from pmsi.pictures.encoding import data_uri
from pmsi.predictor import Guess
from pmsi.robustness.drawing import faded
from pmsi.tables import FilledCell

# The patch rule


def rule_cards(rules: Sequence[PhaseRule], image_size: int) -> str:
    """Return a card for each phase: the image in its smallest patches, the receptive field over it, the verdict."""
    cards = "".join(_rule_card(rule, image_size) for rule in rules)
    last = (
        f"<section>{_patches(image_size, image_size, None, head_color('concat'))}<div>"
        f"<h4>Phase {len(rules) + 1} · concat</h4><p>r = 0, the whole image<br>{image_size} px</p>"
        '<p class="verdict">Nothing to check</p></div></section>'
    )
    return f'<div class="rule">{cards}{last}</div>'


def _rule_card(rule: PhaseRule, image_size: int) -> str:
    sign = "&lt;" if rule.ok else "≥"
    verdict = "✓ keeps the rule" if rule.ok else "⚠ breaks the rule"
    figure = _patches(image_size, rule.smallest_patch, rule.receptive_field, head_color(rule.stage))
    return (
        f"<section>{figure}<div><h4>Phase {rule.phase} · {rule.stage}</h4>"
        f"<p>r = {rule.r}, smallest patch {rule.smallest_patch} px<br>{sign} receptive field {rule.receptive_field} px"
        f'</p><p class="verdict" style="{"" if rule.ok else "color:#d2541b"}">{verdict}</p></div></section>'
    )


def _patches(image_size: int, patch: int, field: int | None, color: str, side: int = 84) -> str:
    """Return the image as a square cut into patches, and over it the receptive field of its middle position."""
    scale = side / image_size
    cells = max(1, round(image_size / max(patch, 1)))
    steps = [side * i / cells for i in range(1, cells)]
    lines = "".join(f"M{x:.1f} 0V{side}M0 {x:.1f}H{side}" for x in steps)
    grid = f'<path d="{lines}" stroke="{NEUTRAL}" stroke-width="1" opacity=".75"/>'
    box = f'<rect x=".5" y=".5" width="{side - 1}" height="{side - 1}" rx="3" fill="{faded(NEUTRAL, 0.12)}" '
    box += f'stroke="{NEUTRAL}"/>'
    seen, label = "", f"{image_size} px image, not cut"
    if field is not None:
        shown = min(field * scale, side)
        seen = (
            f'<rect x="{(side - shown) / 2:.1f}" y="{(side - shown) / 2:.1f}" width="{shown:.1f}" '
            f'height="{shown:.1f}" fill="{faded(color, 0.32)}" stroke="{color}" stroke-width="2"/>'
        )
        label = f"{image_size} px image in patches of {patch} px with a receptive field of {field} px"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}">{box}{grid}{seen}</svg>'
    return f'<img src="{data_uri(svg.encode(), "image/svg+xml")}" width="{side}" height="{side}" alt="{label}">'


# Predictions


def mark(name: str, truth: str | None) -> str:
    """Return " ✓" or " ✗", or nothing where the true class is not known."""
    return "" if truth is None else " ✓" if name == truth else " ✗"


def answers_html(answers: Mapping[str, tuple[str, float | None]], truth: str | None, title: str = "") -> str:
    """Return a row for each head with its answer, and a bar for its probability where there is one."""
    rows, hover = "", f' title="{escape(meaning("head"))}"'
    for head, (name, probability) in answers.items():
        share = "" if probability is None else f"{probability:.0%}"
        bar = "" if probability is None else f'<i style="width:{probability:.1%};background:{head_color(head)}"></i>'
        words = f"<b>{escape(head)}</b> {escape(name)}{mark(name, truth)}"
        rows += f'<div class="answer"{hover}><div><span>{words}</span><span>{share}</span></div><s>{bar}</s></div>'
    return f'<div class="answers" aria-label="{escape(title)}">{rows}</div>'


def confidence_bars(
    before: Sequence[Guess], after: Sequence[Guess] | None, color: str, *, top: int = 5, truth: str | None = None
) -> str:
    """Return bars of the most probable classes before (grey) and after (in ``color``) a perturbation.

    Both hold every class, best first. Shown are the best ones before, with the best one after and ``truth`` (a class's
    name) always among them.
    """
    was, now = ({guess.label: guess for guess in guesses or ()} for guesses in (before, after))
    must = [guess.label for guess in (after or ())[:1]] + [guess.label for guess in before if guess.name == truth]
    best = [guess.label for guess in before]
    others = [label for label in best if label not in must][: max(0, top - len(set(must)))]
    labels = [label for label in best if label in {*must, *others}]
    rows = "".join(_bar_row(was[label], now.get(label), color, truth) for label in labels)
    return f'<div class="bars">{rows}</div>'


def _bar_row(was: Guess, now: Guess | None, color: str, truth: str | None) -> str:
    marked = " <span>· true class</span>" if was.name == truth else ""
    numbers = f"{was.probability:.0%}" + (f" → {now.probability:.0%}" if now else "")
    bars = _bar(was.probability, faded(NEUTRAL, 0.55) if now else color) + (_bar(now.probability, color) if now else "")
    return (
        f'<div><div class="name"><span><b>{escape(was.name)}</b>{marked}</span><span>{numbers}</span></div>{bars}</div>'
    )


def _bar(probability: float, color: str) -> str:
    return f'<div class="bar"><i style="width:{probability:.2%};background:{color}"></i></div>'


# With intervals


def whiskers(numbers: Sequence[Mapping[str, float]], middle: str = "mean", scale: float = 100) -> dict[str, Any]:
    """Return the error bars of some numbers from ``low`` to ``high``, in per cent unless another ``scale`` is given."""
    above, below = ([scale * abs(each[end] - each[middle]) for each in numbers] for end in ("high", "low"))
    return {"array": above, "arrayminus": below, "thickness": 1, "width": 0}


# Fig. 1

PAIR = {"Baseline": CATEGORICAL[4], "+ RMG-PMSI": CATEGORICAL[0]}
"""The two bars of a backbone, and their colours."""

BAR, APART = 0.36, 0.2
"""Width of a bar, and how far its middle is from the middle of its pair; two pairs are 1 apart."""


def paired_bars(names: Sequence[str], pairs: Sequence[tuple[FilledCell | None, FilledCell | None]]) -> go.Figure:
    """Return two bars for each name (a backbone), in per cent, with the paper's numbers as hollow markers.

    Whiskers are the standard deviation over seeds. What is not measured has no bar.
    """
    figure = go.Figure()
    for (name, color), cells, side in zip(PAIR.items(), zip(*pairs, strict=True), (-APART, APART), strict=True):
        x = [i + side for i in range(len(names))]
        mean, sd, paper = (_percents(cells, field) for field in ("mean", "sd", "printed"))
        figure.add_bar(
            x=x,
            y=mean,
            name=name,
            width=BAR,
            marker={"color": color},
            error_y={"array": [value or 0 for value in sd], "color": NEUTRAL, "visible": any(sd)},
            text=["" if value is None else f"{value:.1f}" for value in mean],
            textposition="inside",
            insidetextanchor="start",
            textangle=0,
            hovertemplate="%{y:.1f} %<extra>" + escape(name) + "</extra>",
        )
        figure.add_scatter(
            x=x,
            y=paper,
            name="The paper",
            legendgroup="paper",
            showlegend=side > 0 and any(value is not None for value in paper),
            mode="markers",
            marker={"symbol": "diamond-open", "size": 11, "color": NEUTRAL, "line": {"width": 2.5}},
            hovertemplate="%{y:.1f} %<extra>" + escape(name) + ", the paper</extra>",
        )
    styled(figure, height=330)
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=list(names), range=[-0.6, len(names) - 0.4])
    figure.update_yaxes(title="Accuracy (%)", range=[0, 100])
    return figure.update_layout(hovermode="closest", barmode="overlay")


def _percents(cells: Sequence[FilledCell | None], field: str) -> list[float | None]:
    values = [None if cell is None else getattr(cell, field) for cell in cells]
    return [None if value is None else 100 * value for value in values]
