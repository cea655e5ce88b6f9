"""Perturbations as they are typed: a name, or a name and its severities, such as rotation=10,20."""

from collections.abc import Sequence

from pmsi.base.errors import ConfigError, lookup
from pmsi.perturbations import PERTURBATIONS


def severities_of(entry: str, usual: Sequence[float] | None = None) -> list[tuple[str, float]]:
    """Return the (name, severity) pairs of an entry; without severities of its own, ``usual``, or those of its row.

    Raises UnknownName for the name, and ConfigError for a severity out of its row's range.
    """
    name, own, listed = entry.partition("=")
    row = lookup("perturbation", PERTURBATIONS, name)
    severities = _numbers(entry, listed) if own else row.levels if usual is None else usual
    return [(name, row.check(severity)) for severity in severities]


def _numbers(entry: str, listed: str) -> list[float]:
    try:
        return [float(word) for word in listed.split(",")]
    except ValueError:
        raise ConfigError(
            f"Perturbation {entry!r}: expected a name, or a name and its severities, such as rotation=10,20."
        ) from None
