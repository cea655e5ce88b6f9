"""A run is killed, stopped and goes on where it was, in Chromium."""

import re

import pytest
from driving import QUICK_S, expect_state, kill_worker, short_run, start, stop
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_killed_worker_gets_a_successor_and_after_a_second_kill_the_run_is_resumed_and_stopped(page):
    page.goto("/train")
    short_run(page, epochs=500)
    start(page)
    trained = page.get_by_text(re.compile(r"epoch \d+ of 500")).first
    expect(trained).to_be_visible(timeout=QUICK_S * 1000)
    first = kill_worker(page.url)
    assert kill_worker(page.url, other_than=first) != first
    expect_state(page, "failed")
    expect(page.get_by_text("killed by signal 9. This was the second attempt").first).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect_state(page, "running")
    expect(trained).to_be_visible(timeout=QUICK_S * 1000)
    page.reload()
    expect_state(page, "running")
    stop(page)
    expect(page.get_by_text("Resume goes on from its last checkpoint")).to_be_visible()
