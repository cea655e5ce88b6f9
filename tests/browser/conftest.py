"""One server and one Chromium for all tests of this folder; a screenshot of every page on which a test fails."""

import tempfile
from pathlib import Path

import pytest

try:
    import driving
    from playwright.sync_api import expect, sync_playwright
except ImportError:  # playwright is a development tool
    driving = None

SHOTS = Path(tempfile.gettempdir()) / "pmsi-browser"
WAIT_MS = 30_000


@pytest.fixture(scope="session")
def chromium():
    """Chromium, or the reason why these tests are left out."""
    if driving is None:
        pytest.skip("Playwright is not installed, so the browser tests are left out (requirements-dev.txt).")
    if driving.CHROMIUM is None:
        pytest.skip("Chromium is not installed, so the browser tests are left out. On Debian: apt install chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=driving.CHROMIUM, args=list(driving.ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def address(chromium, tmp_path_factory):
    """The address of the app, served with an empty runs folder."""
    with driving.serving(tmp_path_factory.mktemp("runs")) as address:
        yield address


@pytest.fixture
def page(request, chromium, address):
    """A fresh window; what its scripts complain about fails the test."""
    expect.set_options(timeout=WAIT_MS)
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
