"""The Perturb and Sweeps pages in Chromium: a slider, a click into a confusion matrix, a link, a report."""

import re

import pytest
from driving import expect_other_pixels, loaded
from playwright.sync_api import expect

from pmsi.robustness.page import as_html
from pmsi.robustness.results import read_results

pytestmark = pytest.mark.browser


def test_a_slider_changes_pixels_and_its_link_shows_the_same(page, site):
    page.goto(f"/perturb?run={site.first}&beside={site.second}&kind=Compression&what=jpeg")
    after = page.get_by_alt_text(re.compile("0000, JPEG, 100 − q = 80"))
    before = loaded(after)
    slider = page.get_by_role("slider", name=re.compile("100 − q"))
    slider.focus()
    slider.press("End")
    worst = page.get_by_alt_text(re.compile("0000, JPEG, 100 − q = 95"))
    changed = expect_other_pixels(worst, before)
    expect(page).to_have_url(re.compile("at-jpeg=95"))
    expect(page.get_by_text("Probability at output")).to_have_count(2)
    page.reload()
    assert loaded(worst) == changed


def test_a_click_into_the_matrix_opens_the_images_behind_it(page, site):
    page.goto(f"/sweeps?sweep={site.sweep.id}&part=confusion")
    numbers = page.locator(".js-plotly-plot .scatterlayer text")
    expect(numbers.first).to_be_visible()
    numbers.last.scroll_into_view_if_needed()
    box = numbers.last.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page).to_have_url(re.compile(r"clicked=\d+-\d+"))
    row, column = re.search(r"clicked=(\d+)-(\d+)", page.url).groups()
    expect(page).to_have_url(re.compile(rf"place={row}-{column}"))
    loaded(page.get_by_alt_text(re.compile("Colour jitter, k = 1$")).last)


def test_the_form_of_a_sweep_is_in_its_link(page):
    page.goto("/sweeps")
    page.get_by_text("New sweep", exact=True).click()
    page.get_by_role("radio", name="Cameras and the web").click()
    levels = page.get_by_role("textbox", name="Severities of some of them")
    levels.fill("jpeg=80")
    levels.press("Enter")
    command = page.get_by_test_id("stCode")
    expect(command).to_contain_text("--perturbations jpeg=80 resolution rotation occlusion")
    expect(page).to_have_url(re.compile(r"sweep-preset=capture&.*sweep-levels=jpeg"))
    page.reload()
    expect(command).to_contain_text("--perturbations jpeg=80 resolution rotation occlusion")
    expect(page.get_by_role("button", name="Start the sweep")).to_be_enabled()


def test_the_report_as_a_file_can_be_read_on_a_phone(page, site, tmp_path):
    file, command = tmp_path / "sweep.html", "pmsi robustness " + "a-long-name-of-a-run " * 3
    file.write_text(as_html(read_results(site.sweep), command=command), encoding="utf-8")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    heights = page.locator(".wide td:visible").evaluate_all("cells => cells.map(cell => cell.offsetHeight)")
    assert len(heights) > 10
    assert max(heights) < 50, "a cell of a table is one line, which scrolls sideways"
    page.get_by_text("Every output").first.click()
    expect(page.get_by_role("cell", name="S3", exact=True).first).to_be_visible()
