"""Ask it yourself: a drawn bird's parts and rectangles of any picture are changed, and the answers follow."""

import numpy as np
import pytest
from pages import fine, kept, words
from PIL import Image

from app.views.maps.ask import edited
from pmsi.base.errors import ConfigError
from pmsi.data.plumage import plumage, redraw
from pmsi.data.plumage.drawing import Change
from pmsi.predictor import Predictor

KEY = "test/marsh_reedtail/0000"


def test_a_part_of_a_drawn_bird_is_asked_about(open_page, make_run):
    run = make_run()
    test = fine(open_page("maps", run=run.id, image=KEY, tool="ask"))
    own = fine(test).table[0].value
    assert list(own["Output"]) == ["S3", "S4", "S5", "concat", "mix"]
    assert list(own["As it is"]) == list(own["Changed"])
    kept(test, "button_group", "sibling").set_value("Twinbar Reedtail")
    test = fine(test.run())
    kept(test, "button_group", "ask-wing").set_value("sibling")
    kept(test, "button_group", "ask-tail").set_value("without")
    test = fine(test.run())
    assert "the wing of Twinbar Reedtail and no tail" in words(test)
    birds, predictor = plumage(), Predictor.load(run)
    changed = redraw(birds, birds.find(KEY), Change((("wing", "bars"),), ("tail",)))
    best = predictor.predict(predictor.prepare(changed)).heads["S4"][0]
    assert test.table[0].value["Changed"][1] == f"{best.name} {best.probability:.0%}"
    assert words(test).count("Change the ") == 2


def test_rectangles_are_filled_in_from_around_them_or_copied():
    stripes = np.zeros((40, 60, 3), np.uint8)
    stripes[:, ::2] = 200
    stripes[10:20, 6:12] = (255, 0, 0)
    picture = Image.fromarray(stripes)
    rubbed = np.array(edited(picture, [{"box": [0.1, 0.25, 0.1, 0.25]}]))
    assert (rubbed[10:20, 6:12, 1] > 20).all()
    rubbed[10:20, 6:12] = stripes[10:20, 6:12]
    assert (rubbed == stripes).all()
    pasted = np.array(edited(picture, [{"box": [0.1, 0.25, 0.1, 0.25], "to": [0.5, 0.5]}]))
    assert (pasted[20:30, 30:36] == (255, 0, 0)).all()
    beyond = np.array(edited(picture, [{"box": [0.1, 0.25, 0.1, 0.25], "to": [0.95, 0.9]}]))
    assert (beyond[36:, 57:] == (255, 0, 0)).all()
    for box in ([0, 0, 1, 1], [0, 0, 2, 1], [0, 0, "a", 1], None):
        with pytest.raises(ConfigError):
            edited(picture, [{"box": box}])
