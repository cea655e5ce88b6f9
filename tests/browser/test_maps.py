"""The maps page in a browser: a click enlarges a map, arrow keys move through severities."""

import re

import pytest
from driving import loaded
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_a_click_enlarges_a_map_and_the_link_to_it_opens_it_again(page, site):
    page.goto(f"/maps?run={site.first}&more=class&count=1")
    map_of_s4 = page.get_by_role("button", name=re.compile(r"S4: evidence for")).first
    loaded(map_of_s4.locator("img"))
    map_of_s4.hover(position={"x": 6, "y": 6})
    expect(page.get_by_text(re.compile("at row 1 of 4, column 1 of 4"))).to_be_visible()
    map_of_s4.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Map of 4 × 4")).to_be_visible()
    expect(dialog.get_by_role("cell", name="Random maps")).to_be_visible()
    page.wait_for_url(re.compile(r"zoom=0\.0\.S4"))
    page.reload()
    expect(dialog.get_by_text("Map of 4 × 4")).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)
    expect(page).not_to_have_url(re.compile("zoom="))
    page.get_by_role("button", name=re.compile(r"S5: evidence for")).last.click()
    expect(dialog.get_by_text("Map of 2 × 2")).to_be_visible()


def test_keys_move_through_severities_without_the_server(page, site):
    page.goto(f"/maps?run={site.first}&tool=severity&perturbation=gaussian_noise")
    slider = page.get_by_role("slider", name="Severity")
    image = page.get_by_role("img", name=re.compile("^Image, σ"))
    clean = loaded(image)
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "σ = 5")
    expect(image).not_to_have_attribute("src", clean)
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "σ = 40")
    page.keyboard.press("Home")
    expect(image).to_have_attribute("src", clean)
    page.keyboard.press(" ")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(slider).to_have_attribute("aria-valuetext", "σ = 10")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Play")).to_be_visible()


def test_a_rectangle_is_rubbed_out_by_the_pointer_and_copied_by_keys(page, site):
    page.goto(f"/maps?run={site.first}&tool=ask&ask=patches")
    frame = page.get_by_role("application")
    frame.scroll_into_view_if_needed()
    before = loaded(frame.get_by_role("img"))
    place = frame.bounding_box()
    page.mouse.move(place["x"] + 0.3 * place["width"], place["y"] + 0.3 * place["height"])
    page.mouse.down()
    page.mouse.move(place["x"] + 0.6 * place["width"], place["y"] + 0.6 * place["height"], steps=3)
    page.mouse.up()
    expect(page.get_by_text(re.compile("With 1 change"))).to_be_visible()
    expect(frame.get_by_role("img")).not_to_have_attribute("src", before)
    page.get_by_role("button", name="Copy and paste").click()
    frame.focus()
    for key in ("Enter", "ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_text(re.compile("With 2 changes"))).to_be_visible()
    page.get_by_role("button", name="As it was").click()
    expect(page.get_by_text("Change something to ask.")).to_be_visible()
    expect(frame.get_by_role("img")).to_have_attribute("src", before)
