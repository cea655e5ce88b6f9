"""The Runs page in a browser: choosing and comparing runs, deleting one and taking that back, links and reloads."""

import json
import re
import time
from contextlib import closing

import pytest

pytest.importorskip("playwright", reason="Playwright is not installed, so the browser tests are left out.")

import driving
from playwright.sync_api import expect

from pmsi.config import TrainConfig
from pmsi.runs import Run, list_runs
from pmsi.runs.labels import label

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

ACCURACY = {"baseline": 0.5, "pmr": 0.75}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("compared")


@pytest.fixture(scope="module")
def address(chromium, root):
    with driving.serving(root) as address:
        yield address


@pytest.fixture
def runs(root):
    """By method: two runs that were trained and stopped; whatever an earlier test left is gone from the list."""
    for old in list_runs(root):
        (old.folder / "config.json").unlink()
    return {method: trained(root, method, accuracy) for method, accuracy in ACCURACY.items()}


def trained(root, method, accuracy):
    config = TrainConfig(method=method, backbone="tiny", weights="none", image_size=64, epochs=2)
    run = Run.create(root, config)
    for epoch in (1, 2):
        run.log({"kind": "loss", "epoch": epoch, "step": epoch, "losses": {"concat": 1 / epoch}})
        heads = {"mix": accuracy * epoch / 2}
        run.log({"kind": "epoch", "epoch": epoch, "accuracy": heads, "loss": {}, "seconds": epoch})
    for name in ("started", "stopped.json"):
        (run.folder / name).write_text(json.dumps({"at": time.time()}))
    return run


def row_of(page, run):
    return page.locator(f".st-key-run-{run.id}")


def settled(page):
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()


def test_ticked_runs_are_compared_and_a_copied_link_shows_the_same(page, runs):
    label(runs["pmr"], name="<b>Mine</b>")
    page.goto("/runs")
    for run in runs.values():
        row_of(page, run).get_by_test_id("stCheckbox").locator("label").click()
        expect(page).to_have_url(re.compile(f"pick=.*{run.id}"))
    page.reload()
    page.get_by_role("link", name="Compare 2 runs").click()
    table = page.locator(".sided").first
    expect(table.get_by_role("link", name=f"<b>Mine</b> · {runs['pmr'].id[-4:]}")).to_be_visible()
    expect(table).to_contain_text("75.0 %")
    expect(page).to_have_url(re.compile(r"[?&]runs="))
    url = page.url
    with closing(page.context.browser.new_context()) as other:
        again = other.new_page()
        again.goto(url)
        expect(again.locator(".sided").first).to_contain_text("50.0 %")
        expect(again.locator(".sided").nth(1)).to_contain_text("Method")
    page.go_back()
    expect(row_of(page, runs["pmr"])).to_be_visible()


def test_a_run_is_deleted_and_undo_brings_it_back(page, runs, root):
    run = runs["pmr"]
    page.goto(f"/runs?run={run.id}")
    page.get_by_role("button", name="Delete").click()
    page.get_by_test_id("stPopoverBody").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Deleted: RMG-PMSI on plumage")).to_be_visible()
    expect(row_of(page, run)).to_have_count(0)
    assert run not in list_runs(root)
    page.get_by_role("button", name="Undo").click()
    expect(row_of(page, run)).to_be_visible()
    assert run in list_runs(root)


def test_compared_runs_fit_into_a_narrow_window(page, runs):
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/runs", f"/runs?run={runs['pmr'].id}", f"/runs?runs={','.join(run.id for run in runs.values())}"):
        page.goto(path)
        expect(page.get_by_role("heading").first).to_be_visible()
        settled(page)
        assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
