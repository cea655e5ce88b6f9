"""Labels of a run: a name, tags and a note, in ``labels.json`` beside its config.

They can be changed at any time, also while the run is running. No result depends on them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pmsi.base.errors import RunError
from pmsi.base.files import to_json, write_atomically
from pmsi.base.locks import locked
from pmsi.runs.damage import read
from pmsi.runs.run import Run

FILE = "labels.json"
LONGEST_NAME, LONGEST_TAG, LONGEST_NOTE, MOST_TAGS = 80, 32, 4000, 16
"""Most characters of a name, a tag and a note; most tags of a run."""


@dataclass(frozen=True)
class Labels:
    """A run's name, tags (in the order given) and note; empty where none was given."""

    name: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""

    def __bool__(self) -> bool:
        return bool(self.name or self.tags or self.note)


def labels_of(run: Run) -> Labels:
    """Return a run's labels; empty ones if the file is missing or damaged."""
    about = read(run.folder / FILE)
    if about is None:
        return Labels()
    try:
        return Labels(_name(about.get("name", "")), _tags(about.get("tags", [])), _note(about.get("note", "")))
    except RunError:
        return Labels()


def label(run: Run, *, name: str | None = None, tags: Iterable[str] | None = None, note: str | None = None) -> Labels:
    """Change the labels that are given, and return all of them; an empty value removes a label.

    Raises RunError for a label that is too long or has characters not allowed, and for a run that ships with the
    program.
    """
    if run.is_shipped:
        raise RunError(f"Run {run.id!r} came with the program and cannot be changed. Label a run of your own.")
    try:
        with locked(run.folder / ".change"):  # two processes may change different labels at once
            before = labels_of(run)
            after = Labels(
                before.name if name is None else _name(name),
                before.tags if tags is None else _tags(tags),
                before.note if note is None else _note(note),
            )
            _write(run.folder / FILE, after)
    except FileNotFoundError as error:
        raise RunError(f"Run {run.id!r} is gone: it was moved or deleted. See: pmsi runs list.") from error
    return after


def _write(path: Path, labels: Labels) -> None:
    if labels:
        write_atomically(path, to_json({"name": labels.name, "tags": labels.tags, "note": labels.note}, indent=1))
    else:
        path.unlink(missing_ok=True)


def _name(text: str) -> str:
    name = " ".join(text.split())
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise RunError(
            f"Name {name[:LONGEST_NAME]!r}: expected one line of at most {LONGEST_NAME} printable characters, found "
            f"{len(name)}. The note has room for more."
        )
    return name


def _tags(texts: Iterable[str]) -> tuple[str, ...]:
    if isinstance(texts, str):
        raise TypeError(f"tags = {texts!r}: expected a list of texts.")
    tags = tuple(dict.fromkeys(tag for text in texts if (tag := text.strip())))
    for tag in tags:
        if len(tag) > LONGEST_TAG or not tag.isprintable() or re.search(r"[\s,]", tag):
            raise RunError(
                f"Tag {tag[:80]!r}: expected a word of at most {LONGEST_TAG} characters, without spaces and commas."
            )
    if len(tags) > MOST_TAGS:
        raise RunError(f"{len(tags)} tags: expected at most {MOST_TAGS}. The note has room for more.")
    return tags


def _note(text: str) -> str:
    note = text.strip()
    if len(note) > LONGEST_NOTE:
        raise RunError(f"The note has {len(note)} characters, expected at most {LONGEST_NOTE}. Shorten it.")
    return note
