"""The data page: what is shown of a data set and of a run's mistakes, links to it, and imports."""

import io
import json
import re
import zipfile

import pytest
from PIL import Image

from pmsi.data import open_dataset

NASTY = ["<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "**bold** `code` $x^2$", "![a](b) :material/key:"]


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """No cache but the test's own."""
    monkeypatch.setenv("PMSI_CACHE", str(tmp_path / "cache"))


def picture(shade=0):
    buffer = io.BytesIO()
    Image.new("RGB", (60, 50), (shade, 90, 90)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Class folders with names that mean something in HTML or markdown, and a file that is no picture."""
    home = tmp_path / "birds"
    for name in NASTY[:2]:
        place = home / name.replace("/", "∕")
        place.mkdir(parents=True)
        for i in range(4):
            (place / f"{NASTY[2]}{i}.png").write_bytes(picture(i))
    (place / f"{NASTY[0].replace('/', '')}.png").write_bytes(b"no picture")
    return home


@pytest.fixture
def answered(make_run):
    """A run that took the first two classes for each other, once each, and knew all else."""
    run = make_run(test_per_class=2)
    samples = open_dataset(run.config).test
    labels = [sample.label for sample in samples]
    given = list(labels)
    given[0], given[2] = 1, 0
    stored = {"keys": [sample.key for sample in samples], "labels": labels, "predicted": {"S5": labels, "mix": given}}
    (run.folder / "predictions.json").write_text(json.dumps(stored))
    return run


def opened(test):
    assert not test.exception
    assert not test.error
    return test


def tiles(test):
    return [button.label for button in test.button if button.key.startswith("open-")]


def texts(test):
    elements = (*test.markdown, *test.caption, *test.warning, *test.success, *test.info)
    return "\n".join(element.value for element in elements)


def test_the_built_in_set_is_shown_page_by_page(open_page):
    test = opened(open_page("data"))
    assert "**12** classes · **480** training images · **480** test images" in texts(test)
    assert len(tiles(test)) == 24
    assert "1 to 24 of 960 images" in texts(test)
    before = tiles(test)
    next(button for button in test.button if button.label == "Next").click().run()
    assert "25 to 48 of 960 images" in texts(test)
    assert tiles(opened(test)) != before
    assert test.query_params["page"] == "2"


def test_a_link_opens_the_same_view(open_page):
    query = {"split": "train", "only": "Gorget Crestjay", "page": "2"}
    test = opened(open_page("data", **query))
    assert "25 to 40 of 40 images" in texts(test)
    assert {label.removeprefix("✓ ") for label in tiles(test)} == {"Gorget Crestjay"}


@pytest.mark.parametrize(
    "query",
    [
        {"page": "99"},
        {"page": "-1"},
        {"page": "x"},
        {"set": "gone"},
        {"only": "<script>"},
        {"split": "?"},
        {"open": "../../etc/passwd"},
        {"run": "gone"},
        {"show": "x"},
        {"show": "mistakes", "by": "x", "head": "x"},
    ],
)
def test_nonsense_in_a_link_does_no_harm(open_page, answered, query):
    opened(open_page("data", **query))


def test_classes_are_found_by_a_part_of_their_name(open_page):
    test = opened(open_page("data"))
    test.text_input(key="kept-find").set_value("CREST").run()
    names = test.selectbox(key="kept-only").options
    assert all("Crest" in name for name in names[1:])
    assert len(names) == 1 + sum("Crest" in name for name in open_classes())
    test.text_input(key="kept-find").set_value("nothing like it").run()
    assert "No image here" in texts(opened(test))


def open_classes():
    from app.shared.cached_data import open_builtin

    return open_builtin().classes


def test_a_filter_starts_again_at_the_first_page(open_page):
    test = opened(open_page("data", page="3"))
    assert "49 to 72" in texts(test)
    test.segmented_control(key="kept-split").set_value("test").run()
    assert "1 to 24 of 480" in texts(test)


def test_names_are_shown_as_they_are_and_bad_files_with_their_reason(open_page, folder):
    test = opened(open_page("data", set="folder", data=str(folder)))
    assert "**2** classes" in texts(test)
    assert all("img" in label or "alert" in label for label in tiles(test))
    assert not any(re.search(r"(?<!\\)[<>\[\]]", label) for label in tiles(test))
    test.segmented_control(key="kept-show").set_value("left").run()
    shown = opened(test).dataframe[0].value
    assert list(shown["Why it was left out"]) == ["it is not an image, or of a format that is not supported"]


def test_an_open_image_says_what_is_known_of_it(open_page, answered):
    key = open_dataset(answered.config).test[0].key
    test = opened(open_page("data", open=key))
    assert "A test image, 256 × 256 px" in texts(test)
    assert "✗ **mix**" in texts(test)
    assert "✓ **S5**" in texts(test)


def test_a_training_image_can_be_shown_to_the_model(open_page, answered):
    key = open_dataset(answered.config).train[0].key
    test = opened(open_page("data", open=key, ask="1"))
    assert "It keeps its answers to test images only" in texts(test)


@pytest.mark.parametrize(("by", "words"), [("hardest", "1 of 2 outputs right"), ("sure", "1 of 2 outputs right")])
def test_the_mistakes_of_a_run_come_first(open_page, answered, by, words):
    test = opened(open_page("data", show="mistakes", by=by))
    assert "**2 of 24** test images are wrong at output mix" in texts(test)
    assert all(words in label and "✗" in label for label in tiles(test)[:2])
    assert len(tiles(test)) == (24 if by == "hardest" else 2)


def test_without_a_run_the_page_says_how_to_get_one(open_page):
    assert "Choose a finished run" in texts(opened(open_page("data", show="mistakes", run="")))


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def import_button(test):
    return next(button for button in test.button if button.label == "Import")


def test_a_zip_becomes_a_data_set(open_page, tmp_path):
    test = opened(open_page("data", show="import", **{"from": "zip"}))
    assert import_button(test).disabled
    files = {f"{name}/{i}.png": picture(i) for name in ("jay", "tit") for i in range(4)}
    test.file_uploader(key="import-zip").upload(
        "birds.zip", zipped(files | {"jay/<b>bad</b>.png": b"no"}), "application/zip"
    )
    test.text_input(key="import-name").set_value("garden").run()
    import_button(opened(test)).click().run()
    assert "garden: 2 classes, 8 images." in texts(opened(test))
    assert "jay/\\<b\\>bad" in texts(test)
    assert {path.name for path in (tmp_path / "datasets" / "garden").iterdir()} == {"jay", "tit"}
    next(button for button in test.button if button.label == "Look at it").click().run()
    assert re.search(r"\*\*2\*\* classes · \*\*\d\*\* training images · \*\*\d\*\* test images", texts(opened(test)))
    assert test.query_params["set"] == "imported-garden"


def test_pictures_become_a_data_set(open_page, tmp_path):
    test = opened(open_page("data", show="import"))
    for i, name in enumerate(("jay", "tit")):
        test.text_input(key=f"import-class-{i}").set_value(name)
        uploader = test.file_uploader(key=f"import-files-{i}")
        uploader.set_value([(f"../{k}.png", picture(k), "image/png") for k in range(3)])
    test.text_input(key="import-name").set_value("../garden").run()
    import_button(opened(test)).click().run()
    assert "garden: 2 classes, 6 images" in texts(opened(test))
    assert {path.name for path in (tmp_path / "datasets").iterdir()} == {"garden", ".importing.lock"}


def test_a_hostile_zip_is_refused_in_words(open_page, tmp_path):
    test = opened(open_page("data", show="import", **{"from": "zip"}))
    test.file_uploader(key="import-zip").upload(
        "x.zip", zipped({"../../evil.png": picture(), "jay/0.png": picture()}), "application/zip"
    )
    test.text_input(key="import-name").set_value("garden").run()
    import_button(test).click().run()
    assert not test.exception
    assert "leads out of the archive" in test.error[0].value
    assert not (tmp_path / "datasets" / "garden").exists()
    assert not (tmp_path / "evil.png").exists()


def test_a_folder_elsewhere_on_the_server_is_refused(open_page, tmp_path, folder, monkeypatch):
    monkeypatch.setenv("PMSI_DATA", str(tmp_path / "allowed"))
    test = opened(open_page("data", show="import", **{"from": "server"}))
    test.text_input(key="import-place").set_value(str(folder))
    test.text_input(key="import-name").set_value("garden").run()
    import_button(test).click().run()
    assert "outside the folders" in test.error[0].value
    assert not (tmp_path / "datasets" / "garden").exists()


def test_runs_on_the_same_pictures_share_a_data_set(make_run):
    from app.views.data.sources import offered

    runs = [make_run(test_per_class=2), make_run(test_per_class=50), make_run(split_seed=7)]
    sources = offered()
    assert next(iter(sources)) == "plumage"
    assert all(source.runs == () for source in sources.values())
    for run in runs:
        (run.folder / "predictions.json").write_text("{}")
    assert [len(source.runs) for source in offered().values()] == [2, 1]
    of = {run: source for source in offered().values() for run in source.runs}
    assert [len(of[run].open(run).test) for run in runs] == [24, 600, 12]
    assert [len(source.open().test) for source in offered().values()] == [480, 480]
