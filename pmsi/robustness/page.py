"""The report of a sweep as one HTML file that works offline: figures, tables and pictures.

The browser draws the figures with plotly.js, whose source is in the plotly package; plotly itself is not imported. The
page follows the browser's light or dark mode. Its layout is `templates/sweep.html.j2`.
"""

import importlib.util
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from pmsi import __version__
from pmsi.base.errors import PMSIError
from pmsi.base.text import percent
from pmsi.data.dataset import Dataset
from pmsi.perturbations import PERTURBATIONS
from pmsi.pictures.encoding import data_uri, jpeg
from pmsi.robustness.cells import CLEAN, Cell
from pmsi.robustness.confusion import Pair, confused_pairs, confusion, first_to_flip, images_at, most_confused
from pmsi.robustness.drawing import (
    COLORS,
    Figure,
    confusion_figure,
    curve,
    curve_layout,
    curves,
    drop_bars,
    drop_layout,
)
from pmsi.robustness.export import comparison
from pmsi.robustness.results import SweepResults
from pmsi.runs.record import differences_in

FLIPS, PAIRS, SIDE = 6, 10, 128
"""Images that flip first, for each run and perturbation; confused pairs in a list; pixels of a picture's side."""

MATRIX, PICTURED, PICTURES, NAMED = 20, 12, 3, 12
"""Classes in a confusion matrix; its squares with pictures, the largest first; pictures of each such square; images
that any other square names."""

DROPS = 20
"""Classes whose drops are drawn: those with the largest drops."""

PREDICTED = "as predicted"
"""The menu entry for the primary output of each run."""


def as_html(
    results: SweepResults,
    *,
    command: str = "",
    titles: Mapping[str, str] | None = None,
    colors: Mapping[str, str] | None = None,
    pictures: bool = True,
) -> str:
    """Return the report of a sweep that ``command`` makes; ``titles`` and ``colors`` are those of runs by id.

    ``pictures`` needs the data set: raises DataError if it is missing. Raises PMSIError if plotly is not installed.
    """
    titles = {id: (titles or {}).get(id) or results.title(id) for id in results.runs}
    colors = colors or {id: COLORS[i % len(COLORS)] for i, id in enumerate(results.runs)}
    page = _Page(results, titles, colors, results.dataset() if pictures and results.perturbations else None)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("sweep.html.j2").render(
        results=results,
        plotly=plotly_js(),
        runs=page.runs(),
        facts=page.facts(),
        command=command,
        tests=tests_text(results),
        perturbations=[page.perturbation(name) for name in results.perturbations],
        relative=page.relative_error(),
        confusions=[page.confusions(id) for id in results.runs],
        flips=page.flips(),
        figures=page.figures,
    )


def plotly_js() -> str:
    """Return the source of plotly.js from the installed plotly package; PMSIError if there is none."""
    spec = importlib.util.find_spec("plotly")  # finds the package without importing it
    if spec is None or not spec.submodule_search_locations:
        raise PMSIError(
            "A report in HTML draws its figures with plotly.js, which comes with plotly, and that is not installed. "
            "Run: pip install plotly, or write a .csv."
        )
    return (Path(spec.submodule_search_locations[0]) / "package_data/plotly.min.js").read_text(encoding="utf-8")


@dataclass
class _Page:
    """The parts of the page, as the template gets them.

    ``figures`` are all figures so far; the template refers to them by number. ``dataset`` is None without pictures.
    """

    results: SweepResults
    titles: Mapping[str, str]
    colors: Mapping[str, str]
    dataset: Dataset | None
    figures: list[dict[str, Any]] = field(default_factory=list)
    _encoded: dict[tuple[int, Cell], str] = field(default_factory=dict)

    @cached_property
    def named(self) -> dict[str, str]:
        """Colours by title."""
        return {self.titles[id]: self.colors[id] for id in self.results.runs}

    @cached_property
    def primary(self) -> Mapping[str, str]:
        """The primary output of each run."""
        return self.results.report["primary"]

    def figure(self, figure: Figure, label: str, choices: Sequence[str] = (), **more: Any) -> dict[str, Any]:
        """Add a figure and return its number, label, menu ``choices`` and height for the template."""
        self.figures.append(figure | more)
        height = int(figure["layout"]["height"])
        return {"number": len(self.figures) - 1, "label": label, "choices": [*choices], "height": height}

    def runs(self) -> list[dict[str, Any]]:
        """Return the legend: each run with its colour and its accuracy on the clean images."""
        return [
            {
                "id": id,
                "title": self.titles[id],
                "color": self.colors[id],
                "output": self.primary[id],
                "clean": accuracy_text(self.results.score(CLEAN, id, self.primary[id])),
            }
            for id in self.results.runs
        ]

    def facts(self) -> dict[str, str]:
        """Return the lines about the sweep at the top of the page."""
        results, trained = self.results, self.results.trained
        began = results.run.status().started_at or (results.run.folder / "config.json").stat().st_mtime
        place = f" in {trained.data}" if trained.data else ""
        differs = differences_in(results.run.result() or {})
        return ({"Beware": " ".join(differs)} if differs else {}) | {
            "Sweep": results.run.id,
            "Made": time.strftime("%d %B %Y, %H:%M UTC", time.gmtime(began)),
            "Data": f"{trained.dataset}{place}: {results.images} test images, {len(results.report['classes'])} classes",
            "Seed": str(results.config.seed),
            "Version": f"pmsi {__version__}",
        }

    def perturbation(self, name: str) -> dict[str, Any]:
        """Return the section about one perturbation."""
        row, results = PERTURBATIONS[name], self.results
        unit = f"{row.symbol} ({row.unit})"
        survival = {self.titles[id]: line for id in results.runs if (line := survival_points(results, name, id))}
        cells = (CLEAN, *results.of(name))
        predicting = [self._line(cell, id, self.primary[id]) for cell in cells for id in results.runs]
        others = [self._line(cell, id, head) for cell in cells for id in results.runs for head in results.heads(id)]
        return {
            "effect": row.effect,
            "title": row.title,
            "help": row.help,
            "symbol": row.symbol,
            "accuracy": self._accuracy(name, unit),
            "survival": self.figure(curves(survival, self.named, unit, "Answers unchanged (%)"), "Survival"),
            "factors": self._factors(name),
            "drops": self._drops(name),
            "rows": predicting,
            "others": others if len(others) > len(predicting) else [],
        }

    def _accuracy(self, name: str, unit: str) -> dict[str, Any]:
        """Return the curves of every output; for an output that a run does not have, the run's primary one is shown."""
        results = self.results
        outputs = list(dict.fromkeys(head for id in results.runs for head in results.heads(id)))
        data = []
        for id in results.runs:
            others = [output for output in outputs if output not in results.heads(id)]
            for head in results.heads(id):
                shown = [head, *([PREDICTED, *others] if head == self.primary[id] else [])]
                data += curve(self.titles[id], points(results, name, id, head), self.colors[id], shown)
        layout = curve_layout(unit, "Accuracy (%)")
        return self.figure({"data": data, "layout": layout}, "Accuracy", [PREDICTED, *outputs])

    def _factors(self, name: str) -> dict[str, Any] | None:
        """Return the figure of accuracy against the drawn factors; None if the perturbation draws no quantity."""
        data, choices = [], []
        for each in self.results.report["factors"]:
            if each["perturbation"] == name:
                choices.append(f"{each['factor'].replace('_', ' ')}, {_at(Cell.of(each))}")
                for id in self.results.runs:
                    data += curve(self.titles[id], drawn_points(each, id), self.colors[id], choices[-1:])
        layout = curve_layout("As drawn for each image", "Accuracy (%)")
        return self.figure({"data": data, "layout": layout}, "Accuracy against the draw", choices) if data else None

    def _drops(self, name: str) -> dict[str, Any] | None:
        """Return the figure of the drop of each class at each severity, the strongest first."""
        data, choices = [], []
        cells = [each for each in self.results.report["class_drops"] if each["perturbation"] == name]
        most = 0
        for each in sorted(cells, key=lambda each: -each["severity"]):
            choices.append(_at(Cell.of(each)))
            order, classes = most_dropped(each["runs"], DROPS), self.results.report["classes"]
            most = max(most, len(order))
            for id, drops in each["runs"].items():
                values, names = [drops[i] for i in order], [classes[i] for i in order]
                data.append(drop_bars(self.titles[id], values, names, self.colors[id], choices[-1:]))
        layout = drop_layout(most * len(self.results.runs))
        return self.figure({"data": data, "layout": layout}, "Drops by class", choices) if data else None

    def _line(self, cell: Cell, run: str, head: str) -> list[str]:
        """Return a row of the table: the numbers of one output of a run in a cell, as text."""
        score, test = self.results.score(cell, run, head), comparison(self.results, cell, run, head)
        severity, drop = ("clean", "–") if cell == CLEAN else (f"{cell.severity:g}", drop_text(score))
        p_values = [p_text(test["p"]), p_text(test["holm"])] if test else ["–", "–"]
        return [severity, self.titles[run], head, accuracy_text(score), drop, *p_values]

    def relative_error(self) -> dict[str, Any] | None:
        """Return the table of errors relative to those of the first run; None if there is only one run."""
        found = self.results.report["relative_error"]
        if len(self.titles) < 2 or not found["perturbations"]:
            return None
        rows = [
            [PERTURBATIONS[name].title, *(ratio_text(values[id]) for id in self.titles)]
            for name, values in found["perturbations"].items()
        ]
        return {"over": self.titles[found["over"]], "runs": [*self.titles.values()], "rows": rows}

    def confusions(self, run: str) -> dict[str, Any]:
        """Return a run's confusion matrix over all perturbed cells, its squares' images, and its largest pairs."""
        results, classes = self.results, self.results.report["classes"]
        cells = results.cells[1:] or results.cells
        labels = np.array(results.report["labels"])
        predicted = {cell: results.predictions(cell, run, self.primary[run]) for cell in cells}
        matrix = np.sum([confusion(labels, each, len(classes)) for each in predicted.values()], axis=0)
        shown, pairs = most_confused(matrix, MATRIX), confused_pairs(matrix)
        pictured = [(pair.row, pair.column) for pair in pairs if {pair.row, pair.column} <= {*shown}][:PICTURED]
        squares = {}
        for row, column in itertools.product(shown, shown):
            if matrix[row, column]:
                images: dict[int, Cell] = {}
                for cell, each in predicted.items():
                    images |= {i: cell for i in images_at(labels, each, row, column) if i not in images}
                pair = Pair(row, column, int(matrix[row, column]))
                squares[f"{row}-{column}"] = self._square(pair, images, (row, column) in pictured)
        figure = confusion_figure(matrix, shown, classes, ("True class", "Answer"), self.colors[run])
        label = f"Number of images by true class (rows) and answer (columns), {self.titles[run]}"
        return {
            "title": self.titles[run],
            "figure": self.figure(figure, label, squares=squares) if pairs else None,
            "pairs": [[classes[pair.row], classes[pair.column], str(pair.count)] for pair in pairs[:PAIRS]],
            "shown": len(shown),
            "classes": len(classes),
        }

    def _square(self, pair: Pair, found: Mapping[int, Cell], pictured: bool) -> dict[str, Any]:
        """Return what a click on a square of the matrix opens: a title, some of its images, and the number of others.

        ``found`` are the images of the square, each with the cell of its picture.
        """
        classes, keys = self.results.report["classes"], self.results.report["keys"]
        pictured = pictured and self.dataset is not None
        images = [
            {"words": f"{keys[i]} · {cell.title}", "src": self._picture(i, cell) if pictured else None}
            for i, cell in itertools.islice(found.items(), PICTURES if pictured else NAMED)
        ]
        title = f"{classes[pair.row]} → {classes[pair.column]} · {pair.count}"
        return {"title": title, "images": images, "more": len(found) - len(images)}

    def flips(self) -> list[dict[str, Any]]:
        """Return the images that flip first, before and at the flip, for each perturbation and run."""
        if self.dataset is None:
            return []
        found = [self._flipped(name, id) for name in self.results.perturbations for id in self.results.runs]
        return [each for each in found if each["images"]]

    def _flipped(self, name: str, run: str) -> dict[str, Any]:
        results, classes = self.results, self.results.report["classes"]
        head, labels = self.primary[run], np.array(results.report["labels"])
        clean = (results.predictions(CLEAN, run, head) == labels).tolist()
        images = []
        for flip in first_to_flip(results.report, run, name, clean)[:FLIPS]:
            cell = Cell(name, flip.severity)
            images.append(
                {
                    "before": self._picture(flip.index, CLEAN),
                    "after": self._picture(flip.index, cell),
                    "truth": classes[labels[flip.index]],
                    "answer": classes[results.predictions(cell, run, head)[flip.index]],
                    "at": _at(cell),
                }
            )
        return {"title": f"{PERTURBATIONS[name].title} · {self.titles[run]}", "images": images}

    def _picture(self, index: int, cell: Cell) -> str:
        """Return the first run's input of an image, as a small JPEG in a data URI."""
        assert self.dataset is not None
        if (index, cell) not in self._encoded:
            picture = self.results.picture(self.dataset, index, cell)
            small = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
            self._encoded[index, cell] = data_uri(jpeg(small, quality=82))
        return self._encoded[index, cell]


def _at(cell: Cell) -> str:
    assert cell.perturbation is not None
    return f"{PERTURBATIONS[cell.perturbation].symbol} = {cell.severity:g}"


# Numbers and words, which the app uses too


def points(results: SweepResults, name: str, run: str, head: str) -> list[dict[str, float]]:
    """Return the points of an output's accuracy against the severity of a perturbation, the clean images at 0."""
    scores = {cell.severity: results.score(cell, run, head) for cell in (CLEAN, *results.of(name))}
    return [{"x": x, "y": score["accuracy"], "low": score["low"], "high": score["high"]} for x, score in scores.items()]


def survival_points(results: SweepResults, name: str, run: str) -> list[dict[str, float]]:
    """Return the points of a run's survival curve, which begins with 1 at severity 0."""
    found = [step for step in results.report["survival"][run][name] if step["share"] is not None]
    start = [{"x": 0.0, "y": 1.0, "low": 1.0, "high": 1.0}] if found else []
    return start + [{"x": s["severity"], "y": s["share"], "low": s["low"], "high": s["high"]} for s in found]


def drawn_points(found: Mapping[str, Any], run: str) -> list[dict[str, float]]:
    """Return the points of a run's accuracy against a factor, at its bins' centres; ``found`` is of the report."""
    middles = [(a + b) / 2 for a, b in itertools.pairwise(found["edges"])]
    bins = zip(middles, found["runs"][run], strict=True)
    return [{"x": x, "y": bin["accuracy"], "low": bin["low"], "high": bin["high"]} for x, bin in bins if bin["n"]]


def most_dropped(drops: Mapping[str, Sequence[float | None]], most: int) -> list[int]:
    """Return at most ``most`` classes, by the largest drop of any run; ``drops`` are by run and class."""
    losses = {i: max(each) for i, each in enumerate(zip(*drops.values(), strict=True)) if None not in each}
    return sorted(losses, key=lambda i: -losses[i])[:most]


def tests_text(results: SweepResults) -> str:
    """Return the explanation of p and Holm's p; "" if there is only one run."""
    if len(results.runs) < 2:
        return ""
    cells = len(results.cells)
    return (
        "p is McNemar's exact test against the first run on the same images: the outputs with which the two predict, "
        f"or those of the same name. Holm adjusts it over the {cells} cells of these two runs and this output alone, "
        "not over outputs or other pairs of runs."
    )


def accuracy_text(score: Mapping[str, Any]) -> str:
    """Return an accuracy in per cent with its interval."""
    return f"{percent(score['accuracy'])} ({100 * score['low']:.1f}–{100 * score['high']:.1f})"


def drop_text(score: Mapping[str, Any]) -> str:
    """Return a drop in points with its interval; a loss is positive."""
    text = f"{100 * score['drop']:z.1f} ({100 * score['drop_low']:z.1f} to {100 * score['drop_high']:z.1f})"
    return text.replace("-", "−")


def p_text(p: float) -> str:
    """Return a p-value with two significant digits or two decimals."""
    if p < 1e-4:
        return "< 0.0001"
    return f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def ratio_text(value: float | None) -> str:
    """Return a ratio with two decimals; a dash for None."""
    return "–" if value is None else f"{value:.2f}"
