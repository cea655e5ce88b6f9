"""The Perturb and Sweeps pages in Chromium: a slider, a click into a confusion matrix, a link, a report."""

import re

import pytest
from driving import loaded
from playwright.sync_api import expect

from pmsi.robustness.page import as_html
from pmsi.robustness.results import read_results

pytestmark = pytest.mark.browser


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
