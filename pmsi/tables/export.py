"""A filled table as text, Markdown, LaTeX, CSV and JSON.

CSV holds per cent and points, JSON fractions.
"""

import csv
import io
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from pmsi.base.files import to_json
from pmsi.tables.filling import Filled, FilledCell
from pmsi.tables.rows import NO_OUTPUT, Row, notes, rows, title

WIDTH = 100
"""Width of the text, in characters."""


# Text


def as_text(filled: Filled) -> str:
    """Return the table in aligned columns, in several blocks where one would be wider than `WIDTH`."""
    body = rows(filled)
    label = max([len(row.label) for row in body], default=0)
    widths = [max(len(column.title), *(len(row.texts[i]) for row in body)) for i, column in enumerate(filled.columns)]
    blocks = [_block(filled, body, label, widths, some) for some in _fitting(widths, WIDTH - label)]
    header = [textwrap.fill(note, WIDTH) for note in (title(filled), *notes(filled))]
    return "\n\n".join(["\n".join(header), *blocks]) + "\n"


def _fitting(widths: Sequence[int], room: int) -> list[list[int]]:
    """Return the columns' indices in groups that fit into ``room`` characters, two spaces before each column."""
    groups: list[list[int]] = [[]]
    for i, width in enumerate(widths):
        if groups[-1] and sum(widths[j] + 2 for j in groups[-1]) + width + 2 > room:
            groups.append([])
        groups[-1].append(i)
    return groups


def _block(filled: Filled, body: Sequence[Row], label: int, widths: Sequence[int], some: Sequence[int]) -> str:
    head = " " * label + "".join(f"  {filled.columns[i].title:>{widths[i]}}" for i in some)
    lines = [f"{row.label:<{label}}" + "".join(f"  {row.texts[i]:>{widths[i]}}" for i in some) for row in body]
    return "\n".join(line.rstrip() for line in [head, *lines])


# Markdown


def as_markdown(filled: Filled) -> str:
    """Return the table in GitHub's Markdown, our numbers in bold."""
    head = ["", *(_markdown(column.title) for column in filled.columns)]
    lines = [_piped(head), _piped(["---", *["---:" for _ in filled.columns]])]
    for row in rows(filled):
        texts = [f"**{_markdown(text)}**" if row.is_ours and text else _markdown(text) for text in row.texts]
        lines.append(_piped([_markdown(row.label.strip()), *texts]))
    listed = [f"- {_markdown(note)}" for note in notes(filled)]
    return "\n".join([f"**{_markdown(title(filled))}**", "", *listed, "", *lines]) + "\n"


def _markdown(text: str) -> str:
    flat = re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(text.split()))
    return re.sub(r"&(?=#?\w+;)", r"\\&", flat)


def _piped(texts: Sequence[str]) -> str:
    return "| " + " | ".join(texts) + " |"


# LaTeX

TEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "†": r"$\dagger$",
    "σ": r"$\sigma$",
    "λ": r"$\lambda$",
    "…": r"\dots{}",
}
"""Replacements of characters that TeX reads otherwise or lacks."""


def as_latex(filled: Filled) -> str:
    """Return a table environment for the package booktabs."""
    body: list[str] = []
    for row in rows(filled):
        label = _tex(row.label) if row.is_ours else rf"\quad {_tex(row.label.strip())}"
        space = [r"\addlinespace"] if row.is_ours and body else []
        body += [*space, " & ".join([label, *map(_tex, row.texts)]) + r" \\"]
    head = " & ".join(["", *(_tex(column.title) for column in filled.columns)]) + r" \\"
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(filled.table.caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * len(filled.columns)}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
            r"\footnotesize",
            *(rf"{_tex(note)}\par" for note in (f"{filled.table.title} of the paper, run again.", *notes(filled))),
            r"\end{table}",
            "",
        ]
    )


def _tex(text: str) -> str:
    return "".join(TEX.get(sign, sign) for sign in " ".join(text.split()))


# Records

FIELDS = (
    "table", "line", "column", "line_title", "column_title", "unit", "mean", "sd", "n", "change", "paper",
    "paper_change", "difference", "epoch", "on_test", "seeds", "values", "states", "runs",
)  # fmt: skip
"""The columns of CSV."""


def records(filled: Filled, scale: float = 1.0) -> list[dict[str, Any]]:
    """Return one record per cell; accuracies and differences are fractions times ``scale``, counts are not scaled."""
    lines, columns = ({part.key: part.title for part in parts} for parts in (filled.lines, filled.columns))
    return [
        {
            "table": filled.table.number,
            "line": cell.cell.line,
            "column": cell.cell.column,
            "line_title": lines[cell.cell.line],
            "column_title": columns[cell.cell.column],
            "epoch": filled.epoch,
            "on_test": cell.on_test,
            "seeds": list(filled.seeds),
            "states": [None if state is None else state.value for state in cell.states],
            "runs": list(cell.runs),
            "n": cell.n,
        }
        | _numbers(cell, 1.0 if cell.cell.count else scale)
        for cell in filled.cells.values()
    ]


def _numbers(cell: FilledCell, scale: float) -> dict[str, Any]:
    printed = None if cell.cell.printed is None else cell.cell.printed.change
    numbers = {
        "mean": cell.mean,
        "sd": cell.sd,
        "change": cell.change,
        "paper": cell.printed,
        "paper_change": None if printed is None else printed / 100,
        "difference": cell.difference,
    }
    scaled = {name: None if value is None else round(value * scale, 6) for name, value in numbers.items()}
    return scaled | {"values": [None if e.value is None else round(e.value * scale, 6) for e in cell.entries]}


def as_csv(filled: Filled) -> str:
    """Return a header and one record per cell; accuracies are in per cent, differences in points."""
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    for record in records(filled, scale=100):
        unit = "images" if filled.table.number == "1" else "per cent"
        writer.writerow({name: _flat(value) for name, value in (record | {"unit": unit}).items()})
    return out.getvalue()


def _flat(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(NO_OUTPUT if item is None else str(item) for item in value)
    return "" if value is None else value


def as_json(filled: Filled) -> str:
    """Return the whole table as JSON; accuracies and differences are fractions."""
    about = {
        "table": filled.table.number,
        "title": title(filled),
        "notes": notes(filled),
        "base": filled.table.base.to_dict(),
        "protocol": filled.protocol,
        "is_the_papers": filled.is_the_papers,
        "data": [asdict(images) for images in filled.images],
        "left_out": [
            {"run": each.run.id, "dataset": each.dataset, "reasons": each.reasons} for each in filled.left_out
        ],
        "cells": records(filled),
    }
    return to_json(about, indent=1) + "\n"


FORMATS: dict[str, Callable[[Filled], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
    "json": as_json,
}
"""The formats of a table."""
