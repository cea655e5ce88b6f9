"""Lists in MATLAB files."""

from pathlib import Path
from typing import Any

import numpy as np

from pmsi.base.errors import DataError


def variable(path: Path, name: str, source: str) -> list[Any]:
    """Return a variable of a MATLAB file: numbers, names (str) of a cell array, or structures (dicts) of an array.

    Raises DataError, with where to get the file (``source``), if it cannot be read or has no such list.
    """
    from scipy.io import loadmat  # here, because it takes 0.2 s and every data set imports this file

    try:
        found = loadmat(path, variable_names=[name], simplify_cells=True).get(name)
    except Exception as error:  # damaged bytes make SciPy raise nearly anything
        raise DataError(f"{path} cannot be read as a MATLAB file: {error}. {source}") from error
    if isinstance(found, (dict, str)):  # a list of one
        return [found]
    if found is None or np.size(found) == 0:
        raise DataError(f"{path} has no list {name!r}. {source}")
    return list(np.atleast_1d(found))


def whole_numbers(path: Path, name: str, source: str, most: int) -> list[int]:
    """Return a variable whose values are whole numbers from 1 to ``most``; DataError for others."""
    values = variable(path, name, source)
    for value in values:
        if not (isinstance(value, (int, float, np.number)) and value == int(value) and 1 <= value <= most):
            raise DataError(f"{path}: {name} has {value}. Expected whole numbers from 1 to {most:,}. {source}")
    return [int(value) for value in values]
