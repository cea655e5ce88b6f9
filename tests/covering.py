"""Pairwise covers: few combinations of many options in which any two values of two options meet."""

from itertools import combinations, product


def pairwise(**options):
    """Return dicts of one value an option, so that each pair of values of two options is in one of them. Greedy."""
    names = list(options)
    missing = {
        ((a, x), (b, y)) for a, b in combinations(names, 2) for x, y in product(options[a], options[b])
    }  # fmt: skip
    rows = []
    while missing:
        row = dict(min(missing, key=str))
        for name in names:
            if name not in row:
                row[name] = max(options[name], key=lambda value, name=name: _gain(row | {name: value}, names, missing))
        missing -= set(_pairs(row, names))
        rows.append({name: row[name] for name in names})
    return rows


def _pairs(row, names):
    return [((a, row[a]), (b, row[b])) for a, b in combinations(names, 2) if a in row and b in row]


def _gain(row, names, missing):
    return len(missing.intersection(_pairs(row, names)))
