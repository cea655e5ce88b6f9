"""The Runs page in a browser: choosing and comparing runs, deleting one and taking that back, links and reloads."""

import json
import re
import time
from contextlib import closing

import pytest
from playwright.sync_api import expect

from pmsi.config import TrainConfig
from pmsi.runs import Run, list_runs
from pmsi.runs.labels import label

pytestmark = pytest.mark.browser


@pytest.fixture
def runs(site):
    """Two runs that were trained and stopped, a baseline and ours."""
    return [trained(site.root, method, accuracy) for method, accuracy in {"baseline": 0.5, "pmr": 0.75}.items()]


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


def test_ticked_runs_are_compared_and_a_copied_link_shows_the_same(page, site, runs):
    ours = runs[1]
    label(ours, name="<b>Mine</b>")
    page.goto("/runs")
    for run in runs:
        row_of(page, run).get_by_test_id("stCheckbox").locator("label").click()
        expect(page).to_have_url(re.compile(f"pick=.*{run.id}"))
    page.reload()
    page.get_by_role("link", name="Compare 2 runs").click()
    table = page.locator(".sided").first
    expect(table.get_by_role("link", name=f"<b>Mine</b> · {ours.id[-4:]}")).to_be_visible()
    expect(table).to_contain_text("75.0 %")
    expect(page).to_have_url(re.compile(r"[?&]runs="))
    with closing(page.context.browser.new_context()) as other:
        again = other.new_page()
        again.goto(page.url)
        expect(again.locator(".sided").first).to_contain_text("50.0 %")
        expect(again.locator(".sided").nth(1)).to_contain_text("Method")
    page.go_back()
    expect(row_of(page, ours)).to_be_visible()


def test_a_run_is_deleted_and_undo_brings_it_back_and_an_unknown_one_is_explained(page, site, runs):
    run = runs[1]
    page.goto(f"/runs?run={run.id}")
    page.get_by_test_id("stExpander").filter(has_text="name, delete").locator("summary").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_test_id("stPopoverBody").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Deleted: RMG-PMSI on plumage")).to_be_visible()
    expect(row_of(page, run)).to_have_count(0)
    assert run not in list_runs(site.root)
    page.get_by_role("button", name="Undo").click()
    expect(row_of(page, run)).to_be_visible()
    assert run in list_runs(site.root)
    page.goto("/runs?run=nothing-like-it")
    expect(page.get_by_text("There is no run")).to_be_visible()
