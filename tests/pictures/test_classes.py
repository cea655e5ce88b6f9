"""Pictures of a class: where its distinctive parts are."""

import numpy as np
import pytest

from pmsi.data.plumage import plumage
from pmsi.pictures.classes import boxed, clearest
from pmsi.pictures.overlays import box_lines


@pytest.fixture(scope="module")
def birds():
    return plumage(train_per_class=3, test_per_class=1)


def test_boxes_lie_around_the_parts_in_which_a_species_differs(birds):
    sample = clearest(birds, 8)
    masks, known = birds.open_parts(sample), birds.distinctions[birds.classes[8]].parts
    assert set(known) == {"wing", "tail"}
    seen = {s.key: min(birds.open_parts(s)[part].sum() for part in known) for s in birds.train if s.label == 8}
    assert seen[sample.key] == max(seen.values()) > 0
    before, after = (np.asarray(picture) for picture in (birds.open_image(sample), boxed(birds, sample)))
    changed = (before != after).any(axis=2)
    assert changed.any()
    for part in known:
        ys, xs = np.nonzero(masks[part])
        (x0, y0, x1, _), (_, y1, _, _) = box_lines(masks[part], 0)[:2]
        assert (x0 * 256, y0 * 256, x1 * 256, y1 * 256) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
    assert box_lines(np.zeros((4, 4), bool)) == []
