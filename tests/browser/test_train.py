"""The Train page in Chromium: a link that opens the same form elsewhere, the first batch, a sweep."""

import re

import pytest
from driving import fill, go, loaded, number, settings, settled
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


def test_a_link_opens_its_sweep_and_what_is_wrong_in_it_is_said(page):
    page.goto("/train?epochs=many&lr_new=0.5")
    expect(page.get_by_test_id("stAlert")).to_contain_text("epochs = 'many'")
    expect(number(page, "Learning rate, new")).to_have_value("0.5")
    page.goto("/train?vary=lr_new%3D0.01,0.02&vary=seed%3D0,1,2")
    expect(page.get_by_role("button", name="Queue 6 runs")).to_be_enabled()
    expect(page.get_by_test_id("stCode").first).to_contain_text("--vary lr_new=0.01,0.02 seed=0,1,2")


def test_the_first_batch_is_shown_in_every_phase(page):
    page.goto("/train")
    page.get_by_text("Show the first batch").click()
    for head in ("S3", "S4", "S5", "concat"):
        images = page.get_by_alt_text(re.compile(rf"as the phase of {head} shows it$"))
        expect(images).to_have_count(8)
        loaded(images.first)
    expect(page).to_have_url(re.compile("batch=1"))
