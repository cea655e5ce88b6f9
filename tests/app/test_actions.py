"""What leads from an image to other pages: wherever one is chosen, with that image and that run in the link."""

from urllib.parse import parse_qs

import pytest
from pages import links

KEY = "test/sootcap_finchling/0002"
PAGES = {
    "answer": ["Mosaic", "Perturb", "Stages", "Explain"],
    "mosaic": ["Answer", "Perturb", "Stages", "Explain"],
    "maps": ["Mosaic", "Answer", "Perturb", "Stages"],
    "perturb": ["Mosaic", "Answer", "Stages", "Explain"],
}
LABELS = {"Mosaic": "mosaic", "Answer": "answer", "Perturb": "perturb", "Stages": "stages", "Explain": "maps"}


@pytest.mark.parametrize("page", PAGES)
def test_an_image_leads_to_the_other_pages(open_page, make_run, page):
    run = make_run(method="baseline")
    found = [link for link in links(open_page(page, image=KEY, run=run.id)) if link.label in LABELS]
    assert [link.label for link in found] == PAGES[page]
    for link in found:
        assert link.page == LABELS[link.label]
        asked = parse_qs(link.query_string)
        assert asked["image"] == [KEY]
        assert asked["source"] == ["sample"]
        assert asked.get("run", [run.id]) == [run.id]
