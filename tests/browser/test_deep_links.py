"""What a copied link opens, what a reload keeps, and how the pages look in a narrow window."""

import re

import pytest

pytest.importorskip("playwright", reason="Playwright is not installed, so the browser tests are left out.")

from driving import fill, go, number
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_the_form_keeps_what_was_typed_from_page_to_page(page):
    page.goto("/train")
    fill(page, "Epochs", 9, "--epochs")
    go(page, "Runs")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    go(page, "Train")
    expect(number(page, "Epochs")).to_have_value("9")
    page.get_by_role("button", name="Reset to the preset").click()
    expect(number(page, "Epochs")).not_to_have_value("9")


def test_a_preset_that_needs_data_says_so(page):
    page.goto("/train")
    page.get_by_role("radio", name="Paper recipe").click()
    expect(page.get_by_text("is read from a folder")).to_be_visible()
    expect(page.get_by_role("button", name="Start training")).to_be_disabled()


@pytest.mark.parametrize("path", ["/", "/train", "/runs", "/robustness", "/maps"])
def test_nothing_is_cut_off_in_a_narrow_window(page, path):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(path)
    expect(page.get_by_role("heading").first).to_be_visible()
    expect(page.locator("[data-testid=stApp][data-test-script-state=notRunning]")).to_be_visible()
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
    expect(page.get_by_text(re.compile("Traceback|Something went wrong"))).to_have_count(0)
