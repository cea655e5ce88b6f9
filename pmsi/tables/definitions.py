"""TABLES: the lines, columns and cells of each table of the paper, each cell with the training run that it needs.

A cell's config differs from the base config only in what its line and column say. Cells with equal configs share their
run, also across tables. The lines of Tables III to V are rows of METHODS and AUGMENTATIONS, so a new method appears in
them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pmsi.augment import AUGMENTATIONS
from pmsi.base.errors import lookup
from pmsi.config import TrainConfig
from pmsi.data import DATASETS
from pmsi.methods import METHODS
from pmsi.perturbations import PERTURBATIONS
from pmsi.tables.printed import Place, Printed, paper_table

Sets = Mapping[str, str | None]
"""The folder of each data set by name; None for a built-in one."""

BASELINE, OURS = "baseline", "pmr"
STAGES = ("S1", "S2", "S3", "S4", "S5")
BACKBONES = {"mobilenet_v2": "MobileNetV2", "resnet18": "ResNet-18", "resnet34": "ResNet-34"}
PAPER_SETS = {"cub": "CUB", "cars": "Car", "aircraft": "Air"}
COUNTS = {"classes": "classes", "train": "training images", "test": "test images"}
BACKBONE = "{backbone}"
"""Placeholder for the backbone's name in the path ``weights``, so that each line of Table VI can have its own file."""
PAPER_LABELS = {("3", OURS): "+ P & M & R"}
"""Labels of methods, by table and method, that differ from the title in METHODS: Table III names its ablations."""


@dataclass(frozen=True)
class Cell:
    """One number of a table and the run that it comes from.

    ``config`` is that of the training run, with the base's seed. The number is the accuracy of ``head`` (None: the
    primary head) on the test images, with ``perturbation`` at ``severity`` if given, or the data set's ``count`` of
    classes or images.
    """

    line: str
    column: str
    config: TrainConfig
    head: str | None = None
    perturbation: str | None = None
    severity: float = 0.0
    count: str | None = None
    printed: Printed | None = None

    @property
    def place(self) -> Place:
        """The keys of its line and column."""
        return self.line, self.column


@dataclass(frozen=True)
class Part:
    """A line or a column of a table: its key, its title, and the settings of its cells.

    ``changes`` are the fields in which the cells' configs differ from the base. ``heads`` are the heads that a line's
    models have; other columns stay empty. ``against`` is the line with which the paper compares this one.
    """

    key: str
    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    head: str | None = None
    heads: tuple[str, ...] | None = None
    perturbation: str | None = None
    count: str | None = None
    against: str | None = None


@dataclass(frozen=True)
class Table:
    """A table for one base config. ``cells`` has no entry for an empty cell; ``sets`` are its data sets."""

    number: str
    title: str
    caption: str
    base: TrainConfig
    sets: Sets
    lines: tuple[Part, ...]
    columns: tuple[Part, ...]
    cells: Mapping[Place, Cell]

    @property
    def configs(self) -> tuple[TrainConfig, ...]:
        """The configs of the training runs that it needs, without duplicates, with the base's seed."""
        return tuple(dict.fromkeys(cell.config for cell in self.cells.values() if cell.count is None))


@dataclass(frozen=True)
class TableRow:
    """A row of TABLES.

    ``name`` says in a word or two what it is about. ``decides`` are the config fields that the table sets itself;
    ``lay(base, sets)`` returns its lines and columns.
    ``compares_sets`` and ``compares_backbones``: whether its lines or columns are data sets and backbones.
    """

    number: str
    name: str
    decides: tuple[str, ...]
    lay: Callable[[TrainConfig, Sets], tuple[list[Part], list[Part]]]
    compares_sets: bool = False
    compares_backbones: bool = False

    @property
    def title(self) -> str:
        """The paper's title, such as "Table III"."""
        return paper_table(self.number).title

    @property
    def caption(self) -> str:
        """The paper's caption."""
        return paper_table(self.number).caption

    @property
    def short(self) -> str:
        """Its number and name, such as "III Ablation"."""
        return f"{self.title.removeprefix('Table ')} {self.name}"


def _outputs(*names: str) -> list[Part]:
    return [Part(name, name, head=name) for name in names]


def _method(name: str, **more: Any) -> dict[str, Any]:
    return {"method": name, **more}


def _stage_numbers(base: TrainConfig, sets: Sets) -> tuple[list[Part], list[Part]]:
    lines = [
        Part(str(n), f"StageNum = {n}", _method("pm", stage_num=n), heads=(*STAGES[-n:], "concat", "mix"))
        for n in range(1, len(STAGES) + 1)
    ]
    return lines, _outputs(*STAGES, "concat", "mix")


def _methods_of(number: str) -> Callable[[TrainConfig, Sets], tuple[list[Part], list[Part]]]:
    def lay(base: TrainConfig, sets: Sets) -> tuple[list[Part], list[Part]]:
        lines = [
            Part(name, PAPER_LABELS.get((number, name), row.title), _method(name))
            for name, row in METHODS.items()
            if number in row.tables
        ]
        return lines, _outputs("concat", "mix")

    return lay


OWN_AUGMENTATION = {"none": _method("pm"), "rmg": _method(OURS)}
"""Lines of Table IV that are lines of Table III too: the method has this augmentation, so none is set."""


def _augmentations(base: TrainConfig, sets: Sets) -> tuple[list[Part], list[Part]]:
    printed = dict.fromkeys(line for line, _ in paper_table("4").cells)
    names = [name for name in printed if name in AUGMENTATIONS]
    names += [name for name in AUGMENTATIONS if name not in printed]
    changes = {name: OWN_AUGMENTATION.get(name) or _method(OURS, augmentation=name) for name in names}
    return [Part(name, AUGMENTATIONS[name].title, changes[name]) for name in names], _outputs("concat", "mix")


def _columns_of_sets(sets: Sets) -> list[Part]:
    return [Part(name, set_title(name), {"dataset": name, "data": data}) for name, data in sets.items()]


def _backbones(base: TrainConfig, sets: Sets) -> tuple[list[Part], list[Part]]:
    """Return two lines for each of the paper's backbones and, if it is another one, for the base's."""
    titles = BACKBONES if base.backbone in BACKBONES else BACKBONES | {base.backbone: base.backbone}
    lines = [
        Part(f"{backbone}/{method}", text, _method(method, backbone=backbone), against=against)
        for backbone, title in titles.items()
        for method, text, against in (
            (BASELINE, title, None),
            (OURS, f"{title} + RMG-PMSI", f"{backbone}/{BASELINE}"),
        )
    ]
    return lines, _columns_of_sets(sets)


LEGACY = "gaussian_noise_legacy"
"""The noise of a widely copied snippet, beside the normal one: the paper does not say how it adds noise."""


def _disturbances(base: TrainConfig, sets: Sets) -> tuple[list[Part], list[Part]]:
    names = ("color_jitter", "gaussian_noise", LEGACY)
    rows = {name: PERTURBATIONS[name] for name in names}
    lines = [Part("clean", "Origin")]
    lines += [
        Part(name, f"+ {row.title}, {row.symbol} = {row.paper:g}", perturbation=name, against="clean")
        for name, row in rows.items()
    ]
    columns = [
        Part(f"{part.key}/{method}", f"{part.title} {text}", {**part.changes, **_method(method)})
        for part in _columns_of_sets(sets)
        for method, text in ((BASELINE, "baseline"), (OURS, "+ RMG-PMSI"))
    ]
    return lines, columns


def _statistics(base: TrainConfig, sets: Sets) -> tuple[list[Part], list[Part]]:
    lines = [Part(part.key, DATASETS[part.key].title, part.changes) for part in _columns_of_sets(sets)]
    return lines, [Part(key, title, count=key) for key, title in COUNTS.items()]


_METHOD = ("method", "augmentation")

TABLES: dict[str, TableRow] = {
    row.number: row
    for row in (
        TableRow("1", "Data sets", (), _statistics, True),
        TableRow("2", "Stages", (*_METHOD, "stage_num"), _stage_numbers),
        TableRow("3", "Ablation", _METHOD, _methods_of("3")),
        TableRow("4", "Augmentations", _METHOD, _augmentations),
        TableRow("5", "Other methods", _METHOD, _methods_of("5")),
        TableRow("6", "Backbones", _METHOD, _backbones, True, True),
        TableRow("7", "Robustness", _METHOD, _disturbances, True),
        TableRow("fig1", "Bars", _METHOD, _backbones, True, True),
    )
}


def set_title(dataset: str) -> str:
    """Return a data set's short title: the paper's for its three data sets, else that in DATASETS."""
    return PAPER_SETS.get(dataset) or lookup("data set", DATASETS, dataset).title


def expand(number: str, base: TrainConfig, sets: Sets | None = None) -> Table:
    """Return table ``number`` for a base config; fields that the table sets itself are ignored in the base.

    ``sets`` are the data sets of Tables I, VI, VII and Fig. 1, by default the base's. ``{backbone}`` in the path
    ``weights`` becomes each cell's backbone. Raises UnknownName for an unknown number or data set.
    """
    row = lookup("table", TABLES, number)
    sets = dict(sets) if sets and row.compares_sets else {base.dataset: base.data}
    base = plain(row, base)
    sets = {name: base.with_(dataset=name, data=data).located().data for name, data in sets.items()}
    lines, columns = row.lay(base, sets)
    printed = paper_table(number).cells
    cells = [
        _cell(base, line, column, printed.get((line.key, column.key)))
        for line in lines
        for column in columns
        if line.heads is None or column.head in line.heads
    ]
    about = (number, row.title, row.caption, base, sets)
    return Table(*about, tuple(lines), tuple(columns), {cell.place: cell for cell in cells})


def plain(row: TableRow, base: TrainConfig) -> TrainConfig:
    """Return a base config with absolute paths and the defaults in the fields that the table sets itself."""
    decided = row.decides
    decided += ("dataset", "data") if row.compares_sets else ()
    decided += ("backbone",) if row.compares_backbones and base.backbone in BACKBONES else ()
    defaults = TrainConfig()
    return base.located().with_(**{name: getattr(defaults, name) for name in decided})


def _cell(base: TrainConfig, line: Part, column: Part, printed: Printed | None) -> Cell:
    config = base.with_(**line.changes, **column.changes)
    if BACKBONE in config.weights:
        config = config.with_(weights=config.weights.replace(BACKBONE, config.backbone))
    severity = PERTURBATIONS[line.perturbation].paper if line.perturbation else 0.0
    return Cell(line.key, column.key, config, column.head, line.perturbation, severity, column.count, printed)
