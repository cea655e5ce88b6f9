"""The names of splits: of folders, of lists, and in their columns."""

import re

SPLITS: dict[str, frozenset[str]] = {
    "train": frozenset(("train", "training", "trn", "trainval", "trainset", "训练", "训练集")),
    "test": frozenset(("test", "testing", "tst", "testset", "测试", "测试集")),
    "val": frozenset(("val", "valid", "validation", "dev", "eval", "valset", "验证", "验证集")),
}
"""Names of each split, in lower case; also at the beginning or end of a name: train_crop, val2017."""


def split_of(name: str) -> str | None:
    """Return the split of a name, "train", "test" or "val", or None."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).casefold())
    said = {split for split, known in SPLITS.items() if words and (words[0] in known or words[-1] in known)}
    return said.pop() if len(said) == 1 else None


def is_split_name(name: str) -> bool:
    """Return whether a whole name is one of `SPLITS`."""
    return any(name.strip().casefold() in known for known in SPLITS.values())
