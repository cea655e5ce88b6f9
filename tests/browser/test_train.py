"""The Train page in Chromium: a link that opens the same form elsewhere, the first batch, a sweep."""

import re

import pytest
from driving import fill, go, number, settings, settled
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_the_form_is_kept_from_page_to_page_and_a_copied_link_opens_it_elsewhere(page, chromium, address):
    page.goto("/train")
    expect(page.get_by_test_id("stMetric")).to_have_count(4)
    fill(page, "Epochs", 9, "--epochs")
    fill(page, "Image size", 64, "--image-size")
    expect(page).to_have_url(re.compile("epochs=9"))
    expect(page).to_have_url(re.compile("image_size=64"))
    go(page, "Runs")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    go(page, "Train")
    settings(page)
    expect(number(page, "Epochs")).to_have_value("9")
    expect(page).to_have_url(re.compile("epochs=9"))
    settled(page)
    page.reload()
    expect(number(page, "Epochs")).to_have_value("9")
    other = chromium.new_context(base_url=address).new_page()
    other.goto(page.url)
    expect(other.get_by_test_id("stCode").last).to_contain_text("--epochs 9 --image-size 64")
    other.context.close()
    page.get_by_role("button", name="Reset to the preset").click()
    expect(number(page, "Epochs")).not_to_have_value("9")
    page.get_by_role("radio", name="Paper recipe").click()
    expect(page.get_by_text("Choose the data folder above")).to_be_visible()
    expect(page.get_by_role("button", name="Start training")).to_be_disabled()
