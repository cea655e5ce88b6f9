"""The data page in Chromium: looking through images, opening one, links and reloads."""

import re

import pytest
from driving import expect_other_pixels, loaded, settled
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CLOSE_AT_ONCE = """
performance.getEntriesByType("navigation")[0].type === "reload" && new MutationObserver((_, observer) => {
  const close = document.querySelector('[role=dialog] [aria-label=Close]');
  if (!close || !document.querySelector('[data-test-script-state=notRunning]')) return;
  observer.disconnect(); close.click(); window.closed_at_once = true;
}).observe(document, {subtree: true, childList: true, attributes: true});
"""
"""Closes a dialog of a reloaded page as soon as its script has run, before the page has written its address."""


def test_images_are_looked_through_opened_linked_and_closed(page):
    page.goto("/data?split=test")
    page.get_by_label("Search classes").fill("crestjay")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Class", exact=True)).to_have_value("All 3 that match")
    first = page.get_by_alt_text(re.compile("test.")).first
    before = loaded(first)
    page.get_by_role("button", name="Next").click()
    expect_other_pixels(first, before)
    expect(page).to_have_url(re.compile("page=2"))
    place = first.bounding_box()
    page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)  # the picture, not its name
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("A test image, 256 × 256 px")).to_be_visible()
    before = loaded(dialog.get_by_role("img").first)
    expect(page).to_have_url(re.compile("open=test"))
    page.keyboard.press("ArrowRight")
    expect_other_pixels(dialog.get_by_role("img").first, before)
    page.add_init_script(CLOSE_AT_ONCE)
    page.reload()
    page.wait_for_function("window.closed_at_once")
    settled(page)
    expect(dialog).to_have_count(0)
    expect(page).not_to_have_url(re.compile("open="))
    page.goto("/data?split=test&open=test/gorget_crestjay/0001")
    expect(dialog.get_by_text("Key: test/gorget_crestjay/0001")).to_be_visible()
    dialog.get_by_role("link", name="Mosaic").click()
    expect(page.get_by_role("heading", name="Recursive mosaic")).to_be_visible()
    expect(dialog).to_have_count(0)
