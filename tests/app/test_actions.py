"""What leads from an image to other pages: wherever one is chosen, with that image and that run in the link."""

from urllib.parse import parse_qs

import pytest

KEY = "test/sootcap_finchling/0002"
PAGES = {
    "mosaic": ["Predict", "Perturb", "Explain"],
    "maps": ["Mosaic", "Predict", "Perturb"],
    "robustness": ["Mosaic", "Explain"],
}
LABELS = {"Mosaic": "mosaic", "Predict": "robustness", "Perturb": "robustness", "Explain": "maps"}


def actions(test):
    return {link.proto.label: link.proto for link in test.get("page_link") if link.proto.label in LABELS}


@pytest.mark.parametrize("page", PAGES)
def test_an_image_leads_to_the_other_pages(open_page, make_run, page):
    run = make_run(method="baseline")
    test = open_page(page, image=KEY, run=run.id)
    assert not test.exception
    found = actions(test)
    assert list(found) == PAGES[page]
    for label, link in found.items():
        assert link.page == LABELS[label]
        asked = parse_qs(link.query_string)
        assert asked["image"] == [KEY]
        assert asked["source"] == ["sample"]
        assert asked.get("run", [run.id]) == [run.id]
