"""The house rules that a machine can check: who may import whom, and what a file may hold."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEVELS = [
    {"errors", "seeding", "files", "locks", "wording"},
    {"settings", "batch", "vision", "weights", "abandoning"},
    {"config", "lifecycle"},
    {"data", "augment", "model", "status", "failures", "ranks", "fieldtext", "presets"},
    {"runs", "methods", "folding", "perturbations", "statistics", "device", "parallel", "progress", "tracking"},
    {"checkpoints", "optimization", "explain", "costs"},
    {"evaluation", "starting", "predictor", "paper", "shown", "mistakes", "exporting"},
    {"training", "robustness", "maps", "tables", "keeping"},
    {"launchers", "jobs", "flags", "watching", "estimates"},
    {"campaign", "grids", "reports", "demo"},
    {"commands", "arguments"},
    {"cli"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
SAME_LEVEL = {("augment", "data"), ("jobs", "launchers"), ("launchers", "jobs")}
"""Pairs within one level that may see each other: the preview prepares a picture as the data does; a launcher is found
by its row and calls back."""

MODULES = sorted((ROOT / "pmsi").rglob("*.py"))
APP = sorted((ROOT / "app").rglob("*.py"))


def part(path):
    """The package's part that a file belongs to: pmsi/model/heads.py → model."""
    inside = path.relative_to(ROOT / "pmsi").parts
    return inside[0].removesuffix(".py")


def imported(path):
    """Names of all modules that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def parts_of(names):
    known = {name.split(".")[1] for name in names if name.startswith("pmsi.")}
    return known & LEVEL.keys()


def test_every_part_has_a_level():
    parts = {part(path) for path in MODULES} - {"__init__"}
    assert parts == LEVEL.keys()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_lower_levels_only(path):
    own = part(path)
    if own == "__init__":
        assert not parts_of(imported(path))
        return
    for other in parts_of(imported(path)) - {own}:
        allowed = LEVEL[other] < LEVEL[own] or (own, other) in SAME_LEVEL
        assert allowed, f"{own} (level {LEVEL[own]}) imports {other} (level {LEVEL[other]})"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_knows_no_user_interface(path):
    roots = {name.split(".")[0] for name in imported(path)}
    assert not roots & {"streamlit", "plotly", "pytorch_grad_cam"}
    assert "app" not in roots or part(path) == "commands"


@pytest.mark.parametrize("path", [*MODULES, *APP], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_and_stays_readable(path):
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "a module opens with a docstring"
    assert len(text.splitlines()) <= 300


@pytest.mark.parametrize("path", APP, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_one_place_caches(path):
    cached = [node for node in ast.walk(ast.parse(path.read_text())) if getattr(node, "attr", "").startswith("cache_")]
    assert not cached or path.parent.name == "resources"


def test_only_one_door_leads_to_torchvision():
    doors = {path.name for path in MODULES if any(name.split(".")[0] == "torchvision" for name in imported(path))}
    assert doors == {"vision.py"}


@pytest.mark.parametrize(
    "module", ["pmsi", "pmsi.runs", "pmsi.config", "pmsi.jobs", "pmsi.data", "pmsi.cli", "pmsi.perturbations"]
)
def test_looking_at_runs_needs_no_torch(module):
    code = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('torch', 'torchvision', 'streamlit')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
