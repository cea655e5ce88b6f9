"""The data page: what is shown of a data set and of a run's mistakes, links to it, and imports."""

import io
import json
import re
import zipfile

import pytest
from pages import button, class_folders, click, fine, kept, png, sound, words
from PIL.PngImagePlugin import PngImageFile
from untrained import answer

from app.shared.cached_data import open_builtin
from app.views.data.sources import offered
from pmsi.data import open_dataset

NASTY = ["<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "**bold** `code` $x^2$", "![a](b) :material/key:"]


pytestmark = pytest.mark.usefixtures("cache_folder")


@pytest.fixture
def folder(tmp_path):
    """Class folders with names that mean something in HTML or markdown, and a file that is no picture."""
    home = tmp_path / "birds"
    for name in NASTY[:2]:
        place = home / name.replace("/", "∕")
        place.mkdir(parents=True)
        for i in range(4):
            (place / f"{NASTY[2]}{i}.png").write_bytes(png(i))
    (place / f"{NASTY[0].replace('/', '')}.png").write_bytes(b"no picture")
    return home


@pytest.fixture
def answered(make_run):
    """A run that took the first two classes for each other, once each, and knew all else."""
    run = make_run(test_per_class=2)
    test = open_dataset(run.config).test
    return answer(run, {test[0].key: 1, test[2].key: 0})


def tiles(test):
    return [button.label for button in test.button if button.key.startswith("open-")]


def test_the_built_in_set_is_shown_page_by_page_and_a_filter_starts_again_at_the_first(open_page):
    test = fine(open_page("data", show="images"))
    assert "**12** classes · **480** training images · **480** test images" in words(test)
    before = tiles(test)
    assert len(before) == 24
    assert "1 to 24 of 960 images" in words(test)
    click(test, "Next")
    assert "25 to 48 of 960 images" in words(test)
    assert tiles(fine(test)) != before
    assert test.query_params["page"] == "2"
    kept(test, "segmented_control", "split").set_value("test").run()
    assert "1 to 24 of 480" in words(test)
    kept(test, "text_input", "find").set_value("CREST").run()
    names = kept(test, "selectbox", "only").options
    assert names[1:] == [name for name in open_builtin().classes if "Crest" in name]
    kept(test, "text_input", "find").set_value("nothing like it").run()
    assert "No image here" in words(fine(test))


def test_a_link_opens_the_same_view(open_page):
    test = fine(open_page("data", split="train", only="Gorget Crestjay", page="2"))
    assert "25 to 40 of 40 images" in words(test)
    assert {label.removeprefix("✓ ") for label in tiles(test)} == {"Gorget Crestjay"}


@pytest.mark.parametrize(
    "query",
    [
        {"page": "99", "split": "?", "show": "x"},
        {"page": "-1", "set": "gone", "run": "gone"},
        {"page": "x", "only": "<script>", "open": "../../etc/passwd"},
        {"show": "mistakes", "by": "x", "head": "x"},
    ],
)
def test_nonsense_in_a_link_does_no_harm(open_page, answered, query):
    fine(open_page("data", **query))


def test_a_card_shows_where_a_drawn_species_differs_and_leads_to_its_images(open_page):
    test = fine(open_page("data"))
    assert tiles(test) == list(open_builtin().classes)
    assert re.search("wing: bars.*tail: tip", words(test), re.DOTALL)
    click(test, "all-Twinbar Reedtail")
    assert {label.removeprefix("✓ ").removeprefix("✗ ") for label in tiles(test)} == {"Twinbar Reedtail"}


def test_a_card_of_other_images_has_the_one_that_a_run_knows_best_and_its_hardest(open_page, make_run, tmp_path):
    run = make_run(dataset="folder", data=str(class_folders(tmp_path / "birds", count=12)), test_per_class=None)
    hard, best = [sample.key for sample in open_dataset(run.config).test if sample.label == 0][:2]
    answer(run, {hard: 1})
    stored = json.loads((run.folder / "predictions.json").read_text())
    truths = [{hard: 0.1, best: 0.9}.get(key, 0.5) for key in stored["keys"]]
    stored["truth"] = stored["confidence"] = dict.fromkeys(stored["predicted"], truths)
    (run.folder / "predictions.json").write_text(json.dumps(stored))
    test = fine(open_page("data", set=next(name for name, source in offered().items() if run in source.runs)))
    keys = [one.key.rpartition("jay-")[2] for one in test.button if one.key.startswith("open-class-jay")]
    assert keys == [best, hard]
    assert "✗ wren" in tiles(test)
    kept(test, "segmented_control", "show").set_value("images").run()
    kept(test, "segmented_control", "answer").set_value("wrong").run()
    assert tiles(fine(test)) == ["✗ jay"]


def test_a_typed_folder_can_be_read_by_another_column(open_page, tmp_path):
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    rows = "".join(f"{i}.png,{'ab'[i % 2]},{'xy'[i // 2]}\n" for i in range(4))
    (tmp_path / "list.csv").write_text(f"file,kind,label\n{rows}")
    test = fine(open_page("data", set="folder", data=str(tmp_path)))
    assert set(tiles(test)) == {"x", "y"}
    kept(test, "text_input", "label_column").set_value("kind").run()
    assert {"a", "b"} == set(tiles(fine(test)))


def test_names_are_shown_as_they_are_and_bad_files_with_their_reason(open_page, folder):
    test = fine(open_page("data", set="folder", data=str(folder)))
    assert "**2** classes" in words(test)
    assert all("img" in label or "alert" in label for label in tiles(test))
    assert not any(re.search(r"(?<!\\)[<>\[\]]", label) for label in tiles(test))
    test.segmented_control(key="kept-show").set_value("left").run()
    shown = fine(test).dataframe[0].value
    assert list(shown["Why it was left out"]) == ["it is not an image, or of a format that is not supported"]


def test_an_open_image_says_what_is_known_of_it(open_page, answered):
    data = open_dataset(answered.config)
    test = fine(open_page("data", open=data.test[0].key))
    for said in ("A test image, 256 × 256 px", "✗ **mix**", "✓ **S5**"):
        assert said in words(test)
    assert "It keeps its answers to test images only" in words(open_page("data", open=data.train[0].key, ask="1"))


@pytest.mark.parametrize(("by", "count"), [("hardest", 24), ("sure", 2)])
def test_the_mistakes_of_a_run_come_first(open_page, answered, by, count):
    test = fine(open_page("data", show="mistakes", by=by))
    assert "**2 of 24** test images are wrong at output mix" in words(test)
    assert all("1 of 2 outputs right" in label and "✗" in label for label in tiles(test)[:2])
    assert len(tiles(test)) == count


def test_without_a_run_the_page_says_how_to_get_one(open_page):
    assert "Choose a finished run" in words(fine(open_page("data", show="mistakes", run="")))


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def importing(open_page, way, **place):
    """Open the form of an import in one way, with a name for the new data set."""
    test = fine(open_page("data", show="import", **{"from": way}))
    assert button(test, "Import").disabled
    for key, value in ({"import-name": "garden"} | place).items():
        test.text_input(key=key).set_value(value)
    return sound(test.run())


def test_a_zip_becomes_a_data_set_and_the_server_decodes_none_of_it(open_page, tmp_path, monkeypatch):
    test = importing(open_page, "zip")
    files = {f"{name}/{i}.png": png(i) for name in ("jay", "tit") for i in range(4)} | {"jay/<b>bad</b>.png": b"no"}
    test.file_uploader(key="import-zip").upload("birds.zip", zipped(files), "application/zip").run()
    with monkeypatch.context() as during:
        during.setattr(PngImageFile, "load", lambda image: pytest.fail("decoded"))
        click(fine(test), "Import")
    assert "garden: 2 classes, 8 images." in words(fine(test))
    assert any("jay/\\<b\\>bad" in each.value for each in (*test.warning, *test.markdown, *test.caption))
    assert {path.name for path in (tmp_path / "datasets" / "garden").iterdir()} == {"jay", "tit"}
    click(test, "Look at it")
    assert re.search(r"\*\*2\*\* classes · \*\*\d\*\* training images · \*\*\d\*\* test images", words(test))
    assert test.query_params["set"] == "imported-garden"


def test_pictures_become_a_data_set(open_page, tmp_path):
    classes = {f"import-class-{i}": name for i, name in enumerate(("jay", "tit"))}
    test = fine(open_page("data", show="import"))
    for i, (key, name) in enumerate(classes.items()):
        test.text_input(key=key).set_value(name)
        uploader = test.file_uploader(key=f"import-files-{i}")
        uploader.set_value([(f"../{k}.png", png(k), "image/png") for k in range(3)])
    test.text_input(key="import-name").set_value("../garden").run()
    assert "garden: 2 classes, 6 images" in words(fine(click(test, "Import")))
    assert {path.name for path in (tmp_path / "datasets").iterdir()} == {"garden", ".importing.lock"}


def test_a_hostile_zip_and_a_folder_elsewhere_on_the_server_are_refused_in_words(
    open_page, tmp_path, folder, monkeypatch
):
    test = importing(open_page, "zip")
    hostile = zipped({"../../evil.png": png(), "jay/0.png": png()})
    test.file_uploader(key="import-zip").upload("x.zip", hostile, "application/zip").run()
    assert "leads out of the archive" in click(test, "Import").error[0].value
    monkeypatch.setenv("PMSI_DATA", str(tmp_path / "allowed"))
    test = importing(open_page, "server", **{"import-place": str(folder)})
    assert "outside the folders" in click(test, "Import").error[0].value
    assert not (tmp_path / "datasets" / "garden").exists()
    assert not (tmp_path / "evil.png").exists()


def test_runs_on_the_same_pictures_share_a_data_set(make_run):
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
