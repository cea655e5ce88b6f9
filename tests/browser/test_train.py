"""The Train page in Chromium: a link that opens the same form elsewhere, the first batch, a sweep, a narrow window."""

import re

import pytest

pytest.importorskip("playwright", reason="Playwright is not installed, so the browser tests are left out.")

from driving import fill, loaded, number
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

SETTLED = "[data-testid=stApp][data-test-script-state=notRunning]"


def test_a_copied_link_opens_the_same_form_elsewhere(page, chromium, address):
    page.goto("/train")
    expect(page.get_by_test_id("stMetric")).to_have_count(4)
    fill(page, "Epochs", 9, "--epochs")
    fill(page, "Image size", 64, "--image-size")
    expect(page).to_have_url(re.compile("epochs=9"))
    expect(page).to_have_url(re.compile("image_size=64"))
    page.reload()
    expect(number(page, "Epochs")).to_have_value("9")
    other = chromium.new_context(base_url=address).new_page()
    other.goto(page.url)
    expect(other.get_by_test_id("stCode").last).to_contain_text("--epochs 9 --image-size 64")
    other.context.close()


def test_what_is_wrong_in_a_link_is_said(page):
    page.goto("/train?epochs=many&lr_new=0.5")
    expect(page.get_by_test_id("stAlert")).to_contain_text("epochs = 'many'")
    expect(number(page, "Learning rate, new")).to_have_value("0.5")


def test_the_first_batch_is_shown_in_every_phase(page):
    page.goto("/train")
    page.get_by_text("Show the first batch").click()
    for head in ("S3", "S4", "S5", "concat"):
        images = page.get_by_alt_text(re.compile(rf"as the phase of {head} shows it$"))
        expect(images).to_have_count(8)
        loaded(images.first)
    expect(page).to_have_url(re.compile("batch=1"))


def test_a_sweep_is_counted_before_it_is_queued(page):
    page.goto("/train?vary=lr_new%3D0.01,0.03&vary=seed%3D0,1,2")
    expect(page.get_by_role("button", name="Queue 6 runs")).to_be_enabled()
    expect(page.get_by_test_id("stCode").first).to_contain_text("--vary lr_new=0.01,0.03 seed=0,1,2")


def test_everything_is_readable_in_a_narrow_window(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/train?batch=1&vary=seed%3D0,1")
    expect(page.get_by_test_id("stMetric")).to_have_count(4)
    expect(page.get_by_role("button", name="Queue 2 runs")).to_be_visible()
    expect(page.locator(SETTLED)).to_be_visible()
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
    expect(page.get_by_text("Paper:").first).to_be_visible()
