"""Where a map looks: against plain loops and scipy, and by what must hold of perfect, even and blank maps."""

import numpy as np
import pytest
import scipy.ndimage
import torch

from pmsi.base.errors import PMSIError
from pmsi.explain.measures.baselines import centre_map, edge_map, enlarged, random_map
from pmsi.explain.measures.pointing import energy, pointing, region_scores, summary, widened


@pytest.fixture
def region():
    found = np.zeros((12, 9), dtype=bool)
    found[3:7, 2:5] = True
    return found


def test_a_perfect_map_scores_1_its_opposite_0_and_an_even_or_blank_one_the_share_of_the_area(region):
    for measure in (pointing, energy):
        assert measure(region.astype(float), region) == 1
        assert measure((~region).astype(float), region) == 0
        for level in (0.0, 3.0):
            assert measure(np.full(region.shape, level), region) == pytest.approx(12 / 108)
    values = np.zeros(region.shape)
    values[3, 2] = values[0, 0] = values[11, 8] = values[6, 4] = 5
    assert pointing(values, region) == 0.5, "equal peaks count alike"


def test_energy_is_what_a_loop_adds_up_whatever_the_scale(region):
    values = np.random.default_rng(0).random(region.shape).astype(np.float32)
    inside = sum(float(values[y, x]) for y in range(12) for x in range(9) if region[y, x])
    total = sum(float(value) for value in values.ravel())
    assert energy(values, region) == pytest.approx(inside / total)
    assert energy(values * 1e-20, region) == pytest.approx(inside / total)
    assert energy(values, region) + energy(values, ~region) == pytest.approx(1)


def test_a_widened_region_is_what_lies_within_the_distance():
    region = np.random.default_rng(1).random((14, 11)) < 0.04
    assert region.any()
    distance = scipy.ndimage.distance_transform_edt(~region)
    for tolerance in (0.0, 1.0, 1.5, 2.9, 4.0, 30.0):
        assert np.array_equal(widened(region, tolerance), distance <= tolerance)
    assert not widened(np.zeros((4, 4), dtype=bool), 3.0).any()
    with pytest.raises(PMSIError, match="tolerance = -1"):
        widened(region, -1.0)


def test_what_is_no_map_is_refused(region):
    for measure in (pointing, energy):
        for bad in (np.nan, np.inf, -1e-6):
            values = np.ones(region.shape)
            values[0, 0] = bad
            with pytest.raises(PMSIError, match="below 0 or none that is finite"):
                measure(values, region)
        with pytest.raises(PMSIError, match="one grid"):
            measure(np.ones((3, 3)), region)


def test_edges_are_sobel_s_and_the_centre_is_the_middle_pixel_or_the_middle_four():
    pixels = np.random.default_rng(2).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    grey = 0.299 * pixels[..., 0] + 0.587 * pixels[..., 1] + 0.114 * pixels[..., 2]
    expected = np.hypot(*(scipy.ndimage.sobel(grey, axis=axis, mode="nearest") for axis in (0, 1)))
    np.testing.assert_allclose(edge_map(pixels), expected, atol=1e-9)
    assert not edge_map(np.full((4, 4, 3), 77, dtype=np.uint8)).any()
    assert np.argwhere(centre_map((5, 7))).tolist() == [[2, 3]]
    assert np.argwhere(centre_map((4, 5))).tolist() == [[1, 2], [2, 2]]


def test_random_maps_point_anywhere_and_hold_the_energy_of_the_area(region):
    generator = np.random.default_rng(3)
    scores = [(pointing(m, region), energy(m, region)) for m in (random_map((12, 9), generator) for _ in range(2000))]
    hits, energies = np.mean(scores, axis=0)
    assert hits == pytest.approx(12 / 108, abs=0.03)  # four standard errors
    assert energies == pytest.approx(12 / 108, abs=0.004)


def test_the_numbers_of_a_map_stand_beside_those_of_maps_that_know_nothing():
    region = np.zeros((16, 16), dtype=bool)
    region[:8, :8] = True
    values = np.zeros((4, 4), dtype=np.float32)
    values[0, 0] = 1.0
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:, 12:] = 255  # one edge, outside of the region
    found = region_scores(values, pixels, region, tolerance=0.0, key="a")
    assert found["map"].pointing == 1.0
    assert found["map"].energy == pytest.approx(1.0)
    assert (found["edges"].pointing, found["edges"].energy) == (0.0, 0.0)
    assert found["centre"].energy == pytest.approx(1 / 4)
    assert 0.1 < found["random"].energy < 0.4
    assert 0 < found["random"].pointing < 1
    assert found == region_scores(values, pixels, region, tolerance=0.0, key="a")
    assert found["random"] != region_scores(values, pixels, region, tolerance=0.0, key="b")["random"]
    far = region_scores(values, pixels, np.roll(region, 8, axis=1), tolerance=9.0, key="a")
    assert far["map"].pointing == 1.0, "a peak that is near enough is a hit"


def test_a_summary_says_where_a_map_peaks_and_enlarging_is_torchs_bilinear():
    values = np.zeros((2, 4), dtype=np.float32)
    values[1, 2] = 3.0
    told = summary(values)
    assert (told.shape, told.least, told.peak, told.at) == ((2, 4), 0.0, 3.0, (2.5 / 4, 1.5 / 2))
    assert told.mean == pytest.approx(3 / 8)
    assert summary(values[:1]).at is None
    expected = torch.nn.functional.interpolate(torch.from_numpy(values)[None, None], (12, 12), mode="bilinear")
    assert np.allclose(enlarged(values, 12), expected[0, 0].numpy())
