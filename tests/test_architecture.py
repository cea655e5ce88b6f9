"""Rooms import in one order, without a circle, and the core has no user interface in it."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = (
    "pmsi", "pmsi.base", "pmsi.config", "pmsi.data", "pmsi.runs", "pmsi.model", "pmsi.augment", "pmsi.methods",
    "pmsi.engine", "pmsi.uncertainty", "pmsi.perturbations", "pmsi.explain", "pmsi.graph", "pmsi.evaluation",
    "pmsi.predictor", "pmsi.explain.measures", "pmsi.pictures", "pmsi.training", "pmsi.robustness", "pmsi.export",
    "pmsi.maps", "pmsi.calibrate", "pmsi.unknowns", "pmsi.tasks", "pmsi.api", "pmsi.tables", "pmsi.choices", "pmsi.cli",
    "pmsi.__main__", "app",
)  # fmt: skip
"""A room imports from those before it."""


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for top in ("pmsi", "app") for path in (ROOT / top).rglob("*.py")}


@cache
def imported(path):
    """All that a file imports, wherever in the file, and what it names as text to be imported later."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set(re.findall(r"^((?:pmsi|app)(?:\.\w+)+)(?::\w+)?$", node.value))
    return frozenset(found)


def modules_of(name):
    """The modules of this project that a module imports."""
    for other in imported(MODULES[name]):
        while other and other not in MODULES:
            other = other.rpartition(".")[0]
        if other and other != name:
            yield other


def room_of(name):
    return max((room for room in ROOMS if f"{name}.".startswith(f"{room}.")), key=len)


def test_no_files_import_each_other_in_a_circle():
    try:
        # The public face loads its names when they are used, so importing it for its version waits for none of them.
        TopologicalSorter({name: set(modules_of(name)) for name in MODULES if name != "pmsi"}).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_rooms_import_in_one_order():
    place = {room: number for number, room in enumerate(ROOMS)}
    upward = [
        f"{name} → {other}"
        for name in MODULES
        for other in modules_of(name)
        if place[room_of(other)] > place[room_of(name)] and name != "pmsi"
    ]
    assert not upward, upward


def test_the_core_has_no_user_interface():
    core = {name for name in MODULES if name.split(".")[0] == "pmsi"}
    shown = {
        name for name in core if {"streamlit", "plotly"} & {other.split(".")[0] for other in imported(MODULES[name])}
    }
    assert shown == set()


@pytest.mark.parametrize("module", ["pmsi.runs.jobs", "pmsi.data", "pmsi.perturbations", "pmsi.cli.main"])
def test_looking_at_runs_needs_no_torch(module):
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('torch', 'torchvision', 'streamlit')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
