"""The game: its rounds are the same for everybody, the network's names are its own, and the points add up."""

import pytest
from pages import button, click, fine, words

from app.views.game.page import YOU
from app.views.game.rounds import DEPTHS, NAMES, ROUNDS, draw_rounds, network_says, points, total, verdict
from pmsi.base.errors import DataError
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.plumage import plumage
from pmsi.pictures.mosaics import mosaics
from pmsi.predictor import Predictor


def test_a_game_is_the_same_each_time_of_test_images_alone_and_offers_those_alike():
    birds = plumage(test_per_class=3)
    rounds = draw_rounds(birds, 1)
    assert rounds == draw_rounds(birds, 1) != draw_rounds(birds, 2)
    assert len({one.truth for one in rounds}) == ROUNDS
    for one in rounds:
        assert one.sample in birds.test
        assert one.truth == birds.classes[one.sample.label]
        assert {one.truth, *birds.distinctions[one.truth].others} < set(one.names)
        assert len(one.names) == NAMES
        assert list(one.names) == sorted(one.names, key=birds.classes.index), "their order must not give it away"


def test_few_classes_come_again_and_one_is_no_game():
    few = Dataset("few", ("a", "b"), (), tuple(Sample(str(i), i % 2) for i in range(4)), lambda sample: None)
    assert len(draw_rounds(few, 1)) == ROUNDS
    with pytest.raises(DataError, match="two classes"):
        draw_rounds(Dataset("one", ("a",), (), few.test[:1], lambda sample: None), 1)


def test_points_are_right_names():
    each = [points({YOU: "aabb", "S3": "aaaa"}, "a"), points({YOU: "bbbb", "S3": "baaa"}, "b")]
    assert each == [{YOU: 2, "S3": 4}, {YOU: 4, "S3": 1}]
    assert total(each) == {YOU: 6, "S3": 5}
    assert "S3" in verdict(total(each), YOU)
    assert "wins" in verdict({YOU: 1, "S3": 2}, YOU)


def test_a_game_is_played_to_its_card(open_page, make_run):
    run = make_run(method="pmr")
    data, predictor = open_dataset(run.config), Predictor.load(run)
    rounds = draw_rounds(data, 1)
    test = click(fine(open_page("game")), "Begin")
    scores = []
    for one in rounds:
        for at in range(len(DEPTHS)):
            assert f"picture {at + 1} of 4, r = {DEPTHS[at]}" in words(test)
            click(test, f"name-{one.names.index(one.truth) + 1}")
        cuts = mosaics(predictor.prepare(data.open_image(one.sample)), 3, seed=one.seed, borders=False)[::-1]
        said = network_says([predictor.predict(cut, top=12) for cut in cuts], ["S3", "S4", "S5", "mix"], one.names)
        shown = fine(test).html[0].value
        for head, names in said.items():
            cells = "".join(f"<td>{'✓' if name == one.truth else '✗'} {name}</td>" for name in names)
            assert f"{head}</th><td>{points(said, one.truth)[head]}</td>{cells}</tr>" in shown
        scores.append(points(said, one.truth))
        click(test, button(test, "Next round" if one is not rounds[-1] else "The score").label)
    assert f"**{ROUNDS * 4} of {ROUNDS * 4} points.**" in words(fine(test))
    (card,) = [element.proto.imgs[0].alt for element in test.get("image")]
    assert all(f"{head} {score}" in card for head, score in total(scores).items())
    click(test, "Another game")
    assert test.query_params["game"] == "2"
    assert button(test, "Begin")
