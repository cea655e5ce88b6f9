"""The fields of a config as text: labels, values and the paper's values. `pmsi.config` declares the fields."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pmsi.choices import Options, options_of
from pmsi.config.declare import Config, field_type

LABELS = {
    "dataset": "Data set",
    "data": "Data folder",
    "name_encoding": "Encoding of names",
    "label_column": "Column of classes",
    "weights": "Starting weights",
    "weights_part": "Place in the weights file",
    "start_from": "Start from the model of",
    "lr_pretrained": "Learning rate, pre-trained",
    "lr_new": "Learning rate, new",
    "resize": "Resize to",
    "flip": "Random flips",
    "train_per_class": "Training images per class",
    "test_per_class": "Test images per class",
    "test_fraction": "Share of test images",
    "split": "Test images drawn by",
    "test_on": "Tested on",
    "split_seed": "Seed of the split",
    "stem_stride": "Stem stride",
    "stage_num": "StageNum",
    "smooth_conv": "Smooth conv",
    "bn_momentum": "BatchNorm momentum",
    "channels": "Channels c",
    "hidden": "Hidden channels h",
    "mix": "Mix adds",
    "per_image": "A layout for each image",
    "nested": "Nested phases",
    "permutation": "Patch permutation",
    "concat_weight": "Weight of the concat loss",
    "heads": "Classifiers in a phase",
    "evaluate_every": "Evaluate every … epochs",
}

AUTOMATIC = {
    "resize": "8/7 of the image size",
    "train_per_class": "all",
    "test_per_class": "all",
    "channels": "half of the last stage's",
    "hidden": "c/2",
    "augmentation": "the method's own",
    "start_from": "no run",
    "weights_part": "found out",
    "name_encoding": "as the archive says",
    "label_column": "by its name",
}
"""What an optional field means while it is empty."""

NOT_THE_PAPERS = (
    "data", "name_encoding", "label_column", "split", "test_on", "split_seed", "start_from", "weights_part",
)  # fmt: skip
"""Fields that the paper says nothing about, beside the whole group "run"."""

TITLES = {
    "split": {"content": "each image's pixels", "stratified": "the share of each class"},
    "weights": {"imagenet": "ImageNet", "none": "None", "file": "A file"},
    "smooth_conv": {"paper": "full 3×3", "separable": "separable 3×3"},
}
"""Words for values that have no title of their own."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One field of a config, as a form sees it."""

    name: str
    kind: type
    optional: bool
    many: bool
    options: Options | None
    default: Any
    about: Mapping[str, Any]

    @property
    def label(self) -> str:
        return LABELS.get(self.name) or self.name.replace("_", " ").capitalize()

    @property
    def automatic(self) -> str:
        return AUTOMATIC.get(self.name, "automatic")

    @property
    def paper(self) -> Any:
        """The paper's value: the default, unless the field names another one that could be chosen."""
        named = self.about["paper"]
        return named if self.options is not None and named in self.options else self.default

    @property
    def papers(self) -> str:
        """The paper's value in words; empty for a field of which the paper says nothing."""
        if not self.is_papers:
            return ""
        named = self.about["paper"]
        return str(named) if named is not None and named != self.paper else self.show(self.paper)

    def explained(self, value: Any) -> str:
        """Return the field's help and the paper's value in markdown; the paper's is bold if ``value`` differs."""
        help = str(self.about["help"])
        if not self.papers:
            return help
        mark = "**" if self.differs(value) else ""
        return f"{help} {mark}Paper:\N{NO-BREAK SPACE}{self.papers}.{mark}"

    @property
    def is_papers(self) -> bool:
        """Whether the paper says something about this field."""
        return self.about["group"] != "run" and self.name not in NOT_THE_PAPERS

    def differs(self, value: Any) -> bool:
        """Return whether ``value`` is not the paper's, for fields of which the paper says something."""
        return self.is_papers and bool(value != self.paper)

    def show(self, value: Any) -> str:
        """Return a value in words."""
        if value is None:
            return self.automatic
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, float):
            return f"{value:g}"
        if isinstance(value, tuple):
            return ", ".join(map(self.show, value)) or "none"
        if self.name in TITLES:
            return TITLES[self.name].get(value, str(value))
        return title_of(self.options, value) if isinstance(value, str) else str(value)


def entries(config_class: type[Config]) -> dict[str, Entry]:
    """Return the fields of a config class by name, in its order."""
    found = {}
    for field in fields(config_class):
        kind, optional, many = field_type(config_class, field.name)
        found[field.name] = Entry(field.name, kind, optional, many, options_of(field), field.default, field.metadata)
    return found


def title_of(options: Options | None, name: str) -> str:
    """Return the title of a table's row where it has one, or its name in plain words; FAMILY:NAME stays as it is."""
    row = options.get(name) if isinstance(options, Mapping) else None
    return str(getattr(row, "title", "") or (name if ":" in name else name.replace("_", " ")))
