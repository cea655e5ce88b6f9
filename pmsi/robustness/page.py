"""The report of a sweep as one HTML file: curves, tables, pictures; nothing in it comes from elsewhere.

It has no script and no font of its own, follows the reader's light or dark, and prints. What a number means is
`pmsi.robustness.report`'s affair.
"""

import base64
import io
import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

from pmsi import __version__
from pmsi.base.text import percent
from pmsi.perturbations import PERTURBATIONS
from pmsi.robustness.cells import CLEAN, Cell
from pmsi.robustness.confusion import confused_pairs, confusion, first_to_flip
from pmsi.robustness.drawing import curves
from pmsi.robustness.export import comparison
from pmsi.robustness.reading import Told
from pmsi.robustness.styling import STYLE

COLORS = ("#0f7fc2", "#ff8e00", "#8f2be8", "#be3a28", "#586d6e", "#0ab0ff", "#a2856f", "#ef570e", "#869ab9", "#c0a789")
"""Of runs, where the caller has none."""

FLIPS, PAIRS, SIDE = 6, 10, 128
"""Images that flip first, for each run and perturbation; confused pairs; pixels of a picture's side."""

Titles = Mapping[str, str]
"""What a run is called, by its id."""


def as_html(
    told: Told,
    *,
    command: str = "",
    titles: Titles | None = None,
    colors: Mapping[str, str] | None = None,
    pictures: bool = True,
) -> str:
    """Return the whole report of a sweep that ``command`` makes.

    With ``pictures`` the data set is opened; raises DataError where it is not here.
    """
    titles = {id: (titles or {}).get(id) or told.title(id) for id in told.runs}
    colors = colors or {id: COLORS[i % len(COLORS)] for i, id in enumerate(told.runs)}
    parts = [
        _head(told, titles, colors, command),
        *(_perturbation(told, name, titles, colors) for name in told.perturbations),
    ]
    parts += [_relative(told, titles), _confusions(told, titles)]
    if pictures and told.perturbations:
        parts.append(_flips(told, titles))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Robustness sweep {escape(told.run.id)}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _head(told: Told, titles: Titles, colors: Mapping[str, str], command: str) -> str:
    heads = told.report["primary"]
    legend = "".join(
        f'<li><i style="background:{colors[id]}"></i><b>{escape(title)}</b> <small>{escape(id)}, predicts with '
        f"{escape(heads[id])}; clean {_accuracy(told, CLEAN, id, heads[id])}</small></li>"
        for id, title in titles.items()
    )
    began = told.run.status().started_at or (told.run.folder / "config.json").stat().st_mtime
    trained = told.trained
    place = f" in {trained.data}" if trained.data else ""
    facts = {
        "Sweep": told.run.id,
        "Made": time.strftime("%d %B %Y, %H:%M UTC", time.gmtime(began)),
        "Data": f"{trained.dataset}{place}: {told.images} test images, {len(told.report['classes'])} classes",
        "Seed": told.config.seed,
        "Version": f"pmsi {__version__}",
    }
    rows = "".join(f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items())
    return (
        f"<h1>Robustness sweep</h1><ul class=legend>{legend}</ul><table class=facts>{rows}</table>"
        f"{f'<pre>{escape(command)}</pre>' if command else ''}<p>All runs were shown the same pixels. Intervals of "
        "accuracies are Wilson's, those of drops come from a paired bootstrap over images, both at 95 %. "
        f"{tests_text(told)}</p>"
    )


def tests_text(told: Told) -> str:
    """Return in words what p and Holm's p are; nothing where there is no second run to test."""
    if len(told.runs) < 2:
        return ""
    cells = len(told.cells)
    return (
        "p is McNemar's exact test against the first run on the same images: the outputs with which the two predict, "
        f"or those of the same name. Holm adjusts it over the {cells} cells of these two runs and this output alone, "
        "not over outputs or other pairs of runs."
    )


def _accuracy(told: Told, cell: Cell, run: str, head: str) -> str:
    score = told.score(cell, run, head)
    return f"{percent(score['accuracy'])} ({100 * score['low']:.1f}–{100 * score['high']:.1f})"


def points(told: Told, name: str, run: str, head: str) -> list[dict[str, float]]:
    """Return the points of an output's curve against the severity of a perturbation, the clean images at 0."""
    scores = {cell.severity: told.score(cell, run, head) for cell in (CLEAN, *told.of(name))}
    return [{"x": x, "y": score["accuracy"], "low": score["low"], "high": score["high"]} for x, score in scores.items()]


def standing(told: Told, name: str, run: str) -> list[dict[str, float]]:
    """Return the points of a run's survival curve, which begins with all of its clean hits at severity 0."""
    found = [step for step in told.report["survival"][run][name] if step["share"] is not None]
    start = [{"x": 0.0, "y": 1.0, "low": 1.0, "high": 1.0}] if found else []
    return start + [{"x": s["severity"], "y": s["share"], "low": s["low"], "high": s["high"]} for s in found]


def _perturbation(told: Told, name: str, titles: Titles, colors: Mapping[str, str]) -> str:
    row, primary = PERTURBATIONS[name], told.report["primary"]
    named = {titles[id]: colors[id] for id in told.runs}
    unit = f"{row.symbol} ({row.unit})"
    accuracy = {titles[id]: points(told, name, id, primary[id]) for id in told.runs}
    survival = {titles[id]: line for id in told.runs if (line := standing(told, name, id))}
    figures = curves(accuracy, named, unit, "Accuracy (%)") + curves(survival, named, unit, "Answers unchanged (%)")
    predicting = [(cell, id, primary[id]) for cell in (CLEAN, *told.of(name)) for id in told.runs]
    others = [(cell, id, head) for cell in (CLEAN, *told.of(name)) for id in told.runs for head in told.heads(id)]
    every = f"<details><summary>Every output</summary>{_scores(told, row.symbol, others, titles)}</details>"
    return (
        f"<section><h2>{escape(row.title)}</h2><p>{escape(row.help)}</p><div class=pair>{figures}</div>"
        f"<p class=note>Left: accuracy. Right: clean hits whose answer no severity up to there has changed.</p>"
        f"{_scores(told, row.symbol, predicting, titles)}{every if len(others) > len(predicting) else ''}</section>"
    )


def _scores(told: Told, symbol: str, places: Sequence[tuple[Cell, str, str]], titles: Titles) -> str:
    """Return a table with a line for each (cell, run, output)."""
    body = "".join(_line(told, *place, titles) for place in places)
    head = _cells("th", (symbol, "Run", "Output", "Accuracy", "Drop (points)", "p", "Holm"))
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _line(told: Told, cell: Cell, run: str, head: str, titles: Titles) -> str:
    test = comparison(told, cell, run, head)
    severity = "clean" if cell == CLEAN else f"{cell.severity:g}"
    drop = "–" if cell == CLEAN else drop_text(told.score(cell, run, head))
    p_values = [p_text(test["p"]), p_text(test["holm"])] if test else ["–", "–"]
    return f"<tr>{_cells('td', (severity, titles[run], head, _accuracy(told, cell, run, head), drop, *p_values))}</tr>"


def drop_text(score: Mapping[str, Any]) -> str:
    """Return what was lost in points, positive for a loss, with its interval."""
    text = f"{100 * score['drop']:.1f} ({100 * score['drop_low']:.1f} to {100 * score['drop_high']:.1f})"
    return text.replace("-", "−")


def p_text(p: float) -> str:
    """Return a p-value in as many digits as mean something."""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(str(text))}</{tag}>" for text in texts)


def _relative(told: Told, titles: Titles) -> str:
    found = told.report["relative_error"]
    if len(titles) < 2 or not found["perturbations"]:
        return ""
    head = _cells("th", ("Perturbation", *titles.values()))
    body = "".join(
        f"<tr>{_cells('td', (PERTURBATIONS[name].title, *(ratio_text(values[id]) for id in titles)))}</tr>"
        for name, values in found["perturbations"].items()
    )
    return (
        f"<section><h2>Errors over those of {escape(titles[found['over']])}</h2><p>All severities together; below 1 "
        f"are fewer errors.</p><div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        "</section>"
    )


def ratio_text(value: float | None) -> str:
    """Return a ratio, or a dash where there is none."""
    return "–" if value is None else f"{value:.2f}"


def _confusions(told: Told, titles: Titles) -> str:
    """Return the pairs of classes that each run confuses most, over all perturbed cells."""
    classes = told.report["classes"]
    parts = [f"<div><h3>{escape(titles[id])}</h3>{_pairs(_confused(told, id), classes)}</div>" for id in told.runs]
    intro = "<p>Counted over all perturbed cells.</p>"
    return f"<section><h2>Most confused</h2>{intro}<div class=pair>{''.join(parts)}</div></section>"


def _confused(told: Told, run: str) -> Any:
    labels, classes, head = told.report["labels"], len(told.report["classes"]), told.report["primary"][run]
    cells = told.cells[1:] or told.cells
    return sum(confusion(labels, told.answers(cell, run, head), classes) for cell in cells)


def _pairs(matrix: Any, classes: Sequence[str]) -> str:
    rows = "".join(
        f"<tr>{_cells('td', (classes[pair.row], classes[pair.column], str(pair.count)))}</tr>"
        for pair in confused_pairs(matrix)[:PAIRS]
    )
    head = _cells("th", ("True class", "Answer", "Images"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else "<p>No error at all.</p>"


def _flips(told: Told, titles: Titles) -> str:
    dataset = told.dataset()

    def shown(index: int, cell: Cell) -> Image.Image:
        return told.shown(dataset, index, cell)

    blocks = "".join(_flipped(told, name, id, titles, shown) for name in told.perturbations for id in told.runs)
    intro = "<p>Clean hits that the least severity turns, before and at the flip.</p>"
    return f"<section><h2>The images that flip first</h2>{intro}{blocks}</section>" if blocks else ""


def _flipped(told: Told, name: str, run: str, titles: Titles, shown: Callable[[int, Cell], Image.Image]) -> str:
    head, labels, classes = told.report["primary"][run], told.report["labels"], told.report["classes"]
    clean = [answer == label for answer, label in zip(told.answers(CLEAN, run, head), labels, strict=True)]
    flips = first_to_flip(told.report, run, name, clean)[:FLIPS]
    figures = ""
    for flip in flips:
        cell = Cell(name, flip.severity)
        answer, truth = classes[told.answers(cell, run, head)[flip.index]], classes[labels[flip.index]]
        pictures = "".join(_picture(picture) for picture in (shown(flip.index, CLEAN), shown(flip.index, cell)))
        words = f"{escape(truth)}<br>→ {escape(answer)}<br>{PERTURBATIONS[name].symbol} = {flip.severity:g}"
        figures += f"<figure>{pictures}<figcaption>{words}</figcaption></figure>"
    title = f"{escape(PERTURBATIONS[name].title)} · {escape(titles[run])}"
    return f"<h3>{title}</h3><div class=flips>{figures}</div>" if figures else ""


def _picture(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0).save(file, "JPEG", quality=82)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" width="{SIDE}" height="{SIDE}" alt="">'
