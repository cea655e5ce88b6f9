"""One server and one Chromium for all tests of this folder; a screenshot of every page on which a test fails."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from finished_runs import finished
from untrained import untrained

from pmsi import tasks
from pmsi.config import RobustnessConfig
from pmsi.config.presets import PRESETS
from pmsi.runs import Run

try:
    import driving
    from playwright.sync_api import expect, sync_playwright
except ImportError:  # playwright is a development tool
    driving = None
    collect_ignore_glob = ["test_*.py"]

SHOTS = Path(tempfile.gettempdir()) / "pmsi-browser"
WAIT_MS = 120_000
"""A deadline that only a failing test ever meets."""


@pytest.fixture(scope="session")
def chromium():
    """Chromium, or the reason why these tests are left out."""
    if driving.CHROMIUM is None:
        pytest.skip("Chromium is not installed, so the browser tests are left out. On Debian: apt install chromium.")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=driving.CHROMIUM, args=list(driving.ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site(chromium, tmp_path_factory, tiny_config):
    """The app at ``address``, and what its runs folder ``root`` holds.

    The ids of two runs that were never trained, ``first`` and ``second``; their ``sweep``; ``best``, a finished run of
    Table III with a mix of 62.5 %, and ``table``, the link to it.
    """
    from app.views.tables.protocols import offered  # with Streamlit, which other tests need not wait for

    root = tmp_path_factory.mktemp("site") / "runs"
    best = finished(root, PRESETS["quick"].config, {"S3": 0.25, "S4": 0.25, "S5": 0.25, "concat": 0.5, "mix": 0.625})
    first, second = (untrained(root, tiny_config.with_(seed=seed)).id for seed in (0, 1))
    sweep = Run.create(root, RobustnessConfig(of=(first, second), perturbations=("color_jitter=1",)))
    assert tasks.execute(sweep).name == "FINISHED"
    protocol = next(key for key, each in offered(root, "3").items() if each.base == best.config)
    table = f"/tables?table=3&protocol={protocol}"
    with driving.serving(root) as address:
        yield SimpleNamespace(
            address=address, root=root, first=first, second=second, sweep=sweep, best=best.id, table=table
        )


@pytest.fixture
def address(site):
    return site.address


@pytest.fixture
def page(request, chromium, address):
    """A fresh window; what its scripts complain about fails the test."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, base_url=address)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    if getattr(request.node, "failed", False):
        SHOTS.mkdir(exist_ok=True)
        shot = SHOTS / f"{request.node.name}.png"
        page.screenshot(path=shot, full_page=True)
        print(f"The page when the test failed: {shot}")
    context.close()
    assert not complaints


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Tell the fixtures whether the test failed."""
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report
