"""The Stages page: what the browser is given is what the network computes, and what it may send back."""

import base64

import numpy as np
import pytest
from pages import fine, part, words

from app.shared.cached_data import open_builtin
from app.shared.cached_models import predictor_of
from app.shared.panels import Picked
from app.views.stages.channel import half_of
from app.views.stages.interaction import to_csv
from app.views.stages.looks import look
from app.views.stages.page import Chosen, allowed
from pmsi.pictures.mosaics import mosaics

KEY = "test/ochre_finchling/0000"


def values_of(tile, shape):
    steps = np.frombuffer(base64.b64decode(tile["values"]), dtype="<u2").reshape(shape)
    return tile["least"] + steps / 65535 * (tile["most"] - tile["least"])


def test_the_browser_has_the_strongest_channels_of_a_mosaic_and_the_one_that_a_link_names(open_page, make_run):
    run = make_run()
    test = fine(open_page("stages", run=run.id, image=KEY, cut="2", seed="11", channel="S4:17", order="mean"))
    (shown,) = part(test, "stages")["panels"]
    predictor, data = predictor_of(run), open_builtin()
    seen = mosaics(predictor.prepare(data.open_image(data.find(KEY))), 2, seed=11, borders=False)[2]
    found = predictor.activations(seen)
    assert [stage["picked"] for stage in shown["stages"]] == [None, None, None, 17, None]
    for stage in shown["stages"]:
        values = found.stages[stage["name"]].values
        assert (stage["channels"], stage["h"], stage["w"]) == values.shape
        order = np.argsort(-values.mean(axis=(1, 2)), kind="stable")[: len(stage["tiles"]) - (stage["picked"] == 17)]
        assert [tile["channel"] for tile in stage["tiles"]][: len(order)] == order.tolist()
        for tile in stage["tiles"]:
            np.testing.assert_allclose(
                values_of(tile, values.shape[1:]), values[tile["channel"]], atol=1e-4 * np.abs(values).max()
            )
    assert shown["stages"][2]["field"] == [43, 8, -21]
    assert "S4, channel 17" in words(test)
    assert "12 of the run's own" in words(test)


def test_the_interaction_can_be_switched_off_where_there_is_one(open_page, make_run):
    pmr, plain, baseline = make_run(), make_run(method="p"), make_run(method="baseline")
    both = words(fine(open_page("stages", run=pmr.id, beside=baseline.id, closer="gates")))
    assert "| Interaction | On | Gates at ½ | Off |" in both
    assert "Baseline has no interaction" in both
    only = words(fine(open_page("stages", run=plain.id, closer="gates")))
    assert "there are no gates" in only
    assert "| Off |" not in only


def test_only_what_exists_is_taken_from_the_browser(make_run):
    data = open_builtin()
    picked = Picked.of(data, data.find(KEY))
    looks = [look(make_run(method=method), picked, "", 0, (0, "uniform")) for method in ("pmr", "baseline")]
    said = {"link": "a", "stage": "S5", "channels": [127, None], "cell": [1, 0]}
    assert allowed(said, looks, "a") == Chosen("S5", (127, None), (1, 0))
    assert allowed(said | {"cell": [2, 0]}, looks, "a") == Chosen("S5", (127, None))
    wrong = ({"link": "b"}, {"stage": "S6"}, {"channels": [128, 0]}, {"channels": [1]}, {"channels": ["1", 0]},
             {"stage": ["S5"]})  # fmt: skip
    assert [allowed(said | change, looks, "a") for change in wrong] == [None] * len(wrong)
    lines = to_csv(looks[0].found.interaction).splitlines()
    assert lines[0].split(",")[:3] == ["k", "x_m", "x_S3"]
    assert len(lines) == 1 + len(looks[0].found.interaction.x_m)


@pytest.mark.parametrize(("slopes", "share"), [(np.ones((4, 4)), 0.5), (np.eye(4)[:1], 0.25), (np.zeros((2, 2)), 0)])
def test_half_of_a_sum_is_in_the_largest_of_its_parts(slopes, share):
    assert half_of(slopes) == share
