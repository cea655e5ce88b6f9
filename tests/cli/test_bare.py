"""A machine with a GPU and little else: a copied folder trains there, with nothing installed but what pyproject names.

Whatever else is installed here is hidden from the processes that these tests start, in the way in which it would be
absent: no finder finds it.
"""

import csv
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from finished_runs import flags_of

ROOT = Path(__file__).parents[2]

HIDING = """
import sys
from importlib.machinery import PathFinder

class Bare(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Bare
"""


def needed() -> set[str]:
    """Return the distributions that pyproject's own dependencies need, all the way down."""
    found: set[str] = set()
    waiting = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    while waiting:
        name = re.split(r"[^\w.-]", waiting.pop().strip())[0].lower().replace("_", "-")
        if name not in found:
            try:
                more = importlib.metadata.requires(name) or []
            except importlib.metadata.PackageNotFoundError:
                continue  # of another system or another Python
            found.add(name)
            waiting += [requirement for requirement in more if "extra ==" not in requirement]
    return found


def hidden() -> set[str]:
    """Return the modules of all other distributions that are installed here."""
    known = needed()
    return {
        module
        for module, distributions in importlib.metadata.packages_distributions().items()
        if not any(name.lower().replace("_", "-") in known for name in distributions)
    } - {"pmsi", "app", "tests"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and of its assets, with what hides the rest beside it."""
    box = tmp_path_factory.mktemp("box")
    for part in ("pmsi", "assets"):
        shutil.copytree(ROOT / part, box / part, ignore=shutil.ignore_patterns("__pycache__"))
    (box / "hiding").mkdir()
    (box / "hiding" / "sitecustomize.py").write_text(f"HIDDEN = {sorted(hidden())!r}\n{HIDING}")
    return box


def python(box: Path, *words: str) -> subprocess.CompletedProcess:
    """Run Python in the copied folder, as on a machine without network."""
    here = {"PYTHONPATH": "hiding", "HOME": str(box), "PMSI_CACHE": str(box / "cache")}
    here |= {"https_proxy": "http://127.0.0.1:9", "OMP_NUM_THREADS": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PMSI_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, *words], cwd=box, env=kept | here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_other_packages_are_hidden_and_the_copy_is_what_runs(bare: Path) -> None:
    present = ["pytest", "streamlit", "plotly", "pytorch_grad_cam", "sklearn", "timm", "jaxtyping", "beartype"]
    look = "import importlib.util as u, sys, pmsi; print(pmsi.__file__, [u.find_spec(name) for name in sys.argv[1:]])"
    nothing = [None] * len(present)
    assert python(bare, "-c", look, *present).stdout.strip() == f"{bare / 'pmsi' / '__init__.py'} {nothing}"
    assert {"torch", "torchvision", "numpy", "scipy", "pillow", "safetensors"} <= needed()


COMMANDS = """
import json, sys
from pmsi.cli.main import main
for words in json.loads(sys.argv[1]):
    print("--- output")
    assert main(words) == 0
"""


def test_a_copied_folder_trains_lists_and_fills_tables(bare: Path, tiny_config) -> None:
    flags = flags_of(tiny_config.with_(epochs=1))
    words = (["train", *flags], ["runs", "list"], ["tables", "3", *flags, "--show", "--format", "csv"])
    said = python(bare, "-c", COMMANDS, json.dumps(words)).stdout.split("--- output\n")
    trained = json.loads(said[1])
    assert trained["state"] == "finished"
    own = [line for line in said[2].splitlines() if not line.endswith("comes with the program")]
    assert [line.startswith("finished") for line in own] == [True]
    rows = csv.DictReader(said[3].splitlines())
    (ours,) = [row for row in rows if (row["line"], row["column"]) == ("pmr", "mix")]
    assert float(ours["mean"]) == pytest.approx(100 * trained["result"]["last"]["accuracy"]["mix"], abs=1e-4)
