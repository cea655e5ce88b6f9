"""A run is stopped within seconds and goes on where it was, in Chromium."""

import re

import pytest

pytest.importorskip("playwright", reason="Playwright is not installed, so the browser tests are left out.")

from driving import QUICK_S, expect_state, go, kill_worker, short_run, start
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
SECONDS = 15
"""A worker looks for a request at every batch, and writes a checkpoint before it goes."""


def stop(page):
    page.get_by_role("button", name="Stop").first.click()
    page.get_by_role("button", name="Stop this run").click()
    expect_state(page, "stopped", SECONDS)


def test_a_run_is_stopped_and_resumed(page):
    page.goto("/train")
    short_run(page, epochs=500)
    start(page)
    expect_state(page, "running", QUICK_S)
    expect(page.get_by_text(re.compile(r"epoch \d+ of 500")).first).to_be_visible(timeout=QUICK_S * 1000)
    stop(page)
    expect(page.get_by_text("Resume goes on from its last checkpoint")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect_state(page, "running", QUICK_S)
    expect(page.get_by_text(re.compile(r"epoch \d+ of 500")).first).to_be_visible(timeout=QUICK_S * 1000)
    page.reload()
    expect_state(page, "running", SECONDS)
    stop(page)
    go(page, "Runs")
    expect(page.get_by_text("RMG-PMSI on plumage").first).to_be_visible()


def test_a_killed_worker_gets_a_successor_and_a_second_kill_is_explained(page):
    page.goto("/train")
    short_run(page, epochs=500)
    start(page)
    trained = page.get_by_text(re.compile(r"epoch \d+ of 500")).first
    expect(trained).to_be_visible(timeout=QUICK_S * 1000)
    first = kill_worker(page.url)
    second = kill_worker(page.url, other_than=first)
    assert second != first
    expect_state(page, "failed", SECONDS)
    expect(page.get_by_text("killed by signal 9. This was the second attempt").first).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect_state(page, "running", QUICK_S)
    expect(trained).to_be_visible(timeout=QUICK_S * 1000)
    stop(page)


def test_an_unknown_run_is_explained(page):
    page.goto("/runs?run=nothing-like-it")
    expect(page.get_by_text("There is no run")).to_be_visible()
    expect(page.get_by_text("Traceback")).to_have_count(0)
