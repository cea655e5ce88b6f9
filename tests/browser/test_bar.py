"""The bar in Chromium: its pictures, the way back, reloads and links, and the drawer of a phone."""

import re

import pytest
from driving import drawn, go, loaded, mosaic, settled, upload
from pages import png
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def image(page):
    return page.locator(".st-key-bar-image button").first


def choose(page, source=""):
    """Open the dialog for an image, and one of its sources."""
    image(page).click()
    dialog = page.get_by_role("dialog")
    if source:
        dialog.get_by_role("radio", name=source).click()
    return dialog


def test_back_leads_to_each_page_as_it_was_left_and_a_copied_link_opens_the_same(page, site):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"/answer?run={site.first}")
    settled(page)
    expect(page).to_have_url(re.compile("image="))
    visits, first = page.evaluate("history.length"), image(page).inner_text()
    go(page, "Mosaic")
    choose(page).get_by_role("button", name="Willow Leafling").first.click()
    expect(image(page)).to_contain_text("Willow Leafling")
    page.get_by_role("button", name="New layout").click()
    expect(page).to_have_url(re.compile("seed="))
    second, address = image(page).inner_text(), page.url
    go(page, "Runs")
    expect(page).to_have_url(re.compile("/runs"))
    settled(page)
    page.locator(f"[data-testid=stMain] a[href*='run={site.second}']").first.click()
    expect(page).to_have_url(re.compile("run="))
    settled(page)
    assert page.evaluate("history.length") == visits + 3, "one entry for each visit"
    page.go_back()
    expect(page).to_have_url(re.compile("/runs$"))
    expect(page.locator(f"[data-testid=stMain] a[href*='run={site.second}']").first).to_be_visible()
    settled(page)
    page.go_back()
    expect(image(page)).to_have_text(second)
    expect(page).to_have_url(address)
    settled(page)
    page.go_back()
    expect(image(page)).to_have_text(first)
    page.locator(".st-key-bar-more button").first.click()
    page.get_by_role("button", name="Copy the link").click()
    expect(page.get_by_text("Copied")).to_be_visible()
    other = page.context.new_page()
    other.goto(page.evaluate("navigator.clipboard.readText()"))
    expect(image(other)).to_have_text(first)


def test_a_photo_and_an_upload_are_answered_go_along_and_are_said_to_be_gone_after_a_reload(page):
    page.goto("/mosaic")
    upload_to = choose(page, "Upload")
    expect(upload_to.get_by_text("JPEG, PNG")).to_be_visible()
    upload(page, "red.png", png(size=(120, 90)))
    drawn(mosaic(page, 3, "red.png"))
    go(page, "Answer")
    loaded(page.get_by_alt_text("red.png, as the network sees it"))
    camera = choose(page, "Camera")
    page.wait_for_function("document.querySelector('[role=dialog] video')?.readyState >= 2")
    camera.get_by_role("button", name="Take Photo").click()
    expect(image(page)).not_to_have_text("red.png")
    loaded(page.get_by_alt_text("as the network sees it"))
    page.reload()
    expect(page.get_by_text("Your upload is gone")).to_be_visible()
    expect(image(page)).to_have_text("Choose an image")


def test_the_drawer_of_a_phone_is_a_menu_that_closes(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/mosaic")
    drawn(mosaic(page, 0))
    assert mosaic(page, 0).bounding_box()["y"] < 420
    settled(page)
    menu = page.get_by_test_id("stExpandSidebarButton")
    assert "Menu" in menu.evaluate("button => getComputedStyle(button, '::after').content")
    go(page, "Answer")
    expect(page.get_by_role("heading", name="What is it?")).to_be_visible()
    expect(page.get_by_test_id("stSidebarNavLink").first).not_to_be_in_viewport()
    expect(menu).to_be_visible()
