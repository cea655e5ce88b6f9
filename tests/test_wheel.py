"""The package as other people get it: a wheel, in an environment and a folder that have never seen the checkout."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import urllib.request
import venv
from pathlib import Path

import pytest
from waiting import free_port, until

pytestmark = pytest.mark.wheel
ROOT = Path(__file__).parent.parent
SMALL = ["--backbone", "tiny", "--weights", "none", "--image-size", "64", "--epochs", "1", "--batch-size", "6"]
SMALL += ["--train-per-class", "2", "--test-per-class", "1"]


def clean() -> dict[str, str]:
    """The environment variables without those that lead to the checkout or to its runs."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PMSI_"))}


def call(*words: object, cwd: Path) -> str:
    """Return what a command prints, which must succeed."""
    typed = [str(word) for word in words]
    done = subprocess.run(typed, cwd=cwd, env=clean(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, which borrows all other packages of this one, the editable install excepted."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    source.mkdir()
    for name in ("pmsi", "app", "assets"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copyfile(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    call(*pip, "wheel", "--no-index", "--no-build-isolation", "--no-deps", "-w", place, source, cwd=place)
    (wheel,) = place.glob("*.whl")
    venv.create(place / "env", with_pip=False)
    python = place / "env" / "bin" / "python"
    (packages,) = (place / "env" / "lib").glob("python*/site-packages")
    # A folder named in a .pth file is searched, but what .pth files in it name is not: so the checkout stays unknown.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    call(*pip, "--python", python, "install", "--no-index", "--no-deps", wheel, cwd=place)
    (place / "elsewhere").mkdir()
    return place


def test_nothing_but_pmsi_is_at_the_top_level(installed: Path) -> None:
    (packages,) = (installed / "env" / "lib").glob("python*/site-packages")
    ours = {path.name for path in packages.iterdir()} - {"borrowed.pth", "__pycache__"}
    (about,) = packages.glob("pmsi_lab-*.dist-info")
    assert ours == {"pmsi", about.name}
    assert (about / "top_level.txt").read_text().split() == ["pmsi"]
    files = [line.split(",")[0] for line in (about / "RECORD").read_text().splitlines()]
    assert {name.split("/")[0] for name in files} == {"pmsi", about.name, ".."}
    assert [name for name in files if name.startswith("..")] == ["../../../bin/pmsi"]
    shipped = {path.relative_to(ROOT / "assets") for path in (ROOT / "assets").rglob("*") if path.is_file()}
    assert {Path(name).relative_to("pmsi/assets") for name in files if name.startswith("pmsi/assets/")} == shipped
    parts = {path.name for path in (ROOT / "app" / "parts").iterdir()}
    assert {Path(name).name for name in files if name.startswith("pmsi/lab/app/parts/")} == parts


ANYWHERE = """
import os, sys
import pmsi
from pmsi.base.assets import APP, ASSETS
from pmsi.cli.main import main
from pmsi.runs.launchers import local

print(pmsi.__file__)
assert local._environment() == os.environ  # site-packages are not put in front of what a worker imports
assert main(["tables", "3", "--dry-run", *sys.argv[1:]]) == 0
sys.path.insert(0, str(APP.parent))
from streamlit.testing.v1 import AppTest
first = AppTest.from_file(str(APP / "main.py"), default_timeout=300).run()
assert not first.exception and not first.error, (first.exception, first.error)
style = (ASSETS / "style" / "page.css").read_text()
assert any(style.strip() in part.proto.body for part in first.get("html"))
print(sys.modules["app.views.home.page"].__file__)
"""


def test_the_commands_and_the_first_screen_in_its_styles_work_anywhere(installed: Path) -> None:
    python, away = installed / "env" / "bin" / "python", installed / "elsewhere"
    package, *table, page = call(python, "-c", ANYWHERE, *SMALL, cwd=away).splitlines()
    assert Path(package).is_relative_to(installed / "env")
    assert Path(page).is_relative_to(installed / "env")
    assert any("pmr" in line for line in table)
    listed = call(installed / "env" / "bin" / "pmsi", "runs", "list", cwd=away)
    assert {"demo-pmr", "demo-baseline"} <= set(listed.split())


def test_the_server_answers_and_says_its_address_alone(installed: Path) -> None:
    with serving(installed) as (address, log):
        page = urllib.request.urlopen(f"{address}/", timeout=60).read().decode()
        script = re.search(r'src="\./(static/[^"]+\.js)"', page)[1]
        assert urllib.request.urlopen(f"{address}/{script}", timeout=60).read()
        said = log.read_text()
        (line,) = said.splitlines()
        assert line.endswith(address.replace("127.0.0.1", "localhost"))


@contextlib.contextmanager
def serving(installed: Path):
    """Run `pmsi app` on a free port, and yield its address and its output once it says that it is ready."""
    port = free_port()
    log = installed / "app.log"
    words = [installed / "env" / "bin" / "pmsi", "app", "--port", str(port)]
    with log.open("wb") as output:
        server = subprocess.Popen(
            words, cwd=installed / "elsewhere", env=clean(), stdout=output, stderr=output, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: server.poll() is not None or _answers(f"{address}/_stcore/health"))
        assert server.poll() is None, log.read_text()
        yield address, log
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
        return answer.status == 200
    return False
