"""Parsing of perturbations as they are typed: a name, or a name with severities, such as rotation=10,20."""

from collections.abc import Sequence

from pmsi.base.errors import ConfigError, lookup
from pmsi.perturbations import PERTURBATIONS


def severities_of(entry: str, usual: Sequence[float] | None = None) -> list[tuple[str, float]]:
    """Return the (name, severity) pairs of an entry; without severities, ``usual`` or the default ones of its row.

    Raises UnknownName for the name, and ConfigError for a severity that is no number or out of the row's range.
    """
    name, equals, listed = entry.partition("=")
    row = lookup("perturbation", PERTURBATIONS, name)
    severities = row.levels if usual is None else usual
    if equals:
        severities = _numbers(entry, listed)
    return [(name, row.check(severity)) for severity in severities]


def _numbers(entry: str, listed: str) -> list[float]:
    try:
        return [float(word) for word in listed.split(",")]
    except ValueError:
        raise ConfigError(
            f"Perturbation {entry!r}: expected a name, or a name and its severities, such as rotation=10,20."
        ) from None
