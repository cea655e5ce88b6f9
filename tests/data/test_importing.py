"""Imported data sets: whole or not there, with harmless names, and never in place of another."""

import subprocess
import sys
from pathlib import Path

import pytest
from photos import make_zip, picture

from pmsi.base.errors import DataError
from pmsi.config import TrainConfig
from pmsi.data import kind_of, open_dataset
from pmsi.data.images import MAX_FILE_BYTES
from pmsi.data.importing import Picture, import_dataset, import_files, import_pictures, imported_sets, safe_name

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("PMSI_DATASETS", str(tmp_path / "sets"))
    return tmp_path / "sets"


BIRDS = {f"{name}/{i}.png": picture(10 * i + len(name)) for name in ("jay", "great tit") for i in range(4)}
SPLIT = {f"{split}/{name}": content for split in ("train", "test") for name, content in BIRDS.items()}


def write(home, files):
    for name, content in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)
    return home


def files_in(home):
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def there(root):
    """What is in the folder of data sets, apart from the lock."""
    return {path.name for path in root.iterdir()} - {".importing.lock"} if root.exists() else set()


@pytest.mark.parametrize(
    ("files", "form"),
    [(BIRDS, "folder"), (SPLIT, "zip"), (BIRDS, "zip of a folder")],
    ids=["folder", "zip", "zip of a folder"],
)
def test_a_folder_or_a_zip_is_copied_as_it_is(tmp_path, root, files, form):
    if form == "folder":
        source = write(tmp_path / "birds", files)
    else:
        top = "birds/" if form == "zip of a folder" else ""
        source = make_zip(tmp_path / "birds.zip", {top + name: content for name, content in files.items()})
    calls = []
    done = import_dataset(source, "garden birds", progress=lambda *call: calls.append(call))
    assert (done.folder, done.classes, done.images, done.problems) == (root / "garden birds", 2, len(files), ())
    assert files_in(done.folder) == files
    assert calls[-1] == (len(files), len(files))
    assert imported_sets() == {"garden birds": done.folder}
    opened = open_dataset(TrainConfig(dataset="folder", data=str(done.folder)))
    assert len(opened.train) + len(opened.test) == len(files)
    if form == "folder":
        assert files_in(source) == files


def test_what_cannot_be_read_is_left_out_and_named(tmp_path):
    bad = {"jay/broken.png": picture()[:40], "jay/page.jpg": b"<html>", "stray.png": picture(), "jay/notes.txt": b"x"}
    done = import_dataset(write(tmp_path / "birds", BIRDS | bad), "birds")
    assert files_in(done.folder) == BIRDS
    assert {problem.key for problem in done.problems} == {"jay/broken.png", "jay/page.jpg", "stray.png"}
    assert any("web page" in problem.reason for problem in done.problems)


def test_links_that_leave_the_folder_are_copied(tmp_path):
    write(tmp_path, {"secret.png": picture(99), "secrets/jay/0.png": picture(98)})
    home = write(tmp_path / "birds", BIRDS)
    (home / "jay" / "link.png").symlink_to(tmp_path / "secret.png")
    (home / "wren").symlink_to(tmp_path / "secrets" / "jay")
    done = import_dataset(home, "birds")
    assert files_in(done.folder) == BIRDS | {"jay/link.png": picture(99), "wren/0.png": picture(98)}
    assert not any(path.is_symlink() for path in done.folder.rglob("*"))


def test_single_files_get_harmless_names(tmp_path, root):
    hostile = (
        "../../evil",
        "/etc/evil",
        "a/../../evil",
        "..",
        ".hidden",
        "C:\\evil",
        "nul\0l",
        "<img onerror=alert(1)>",
    )
    for number, name in enumerate(hostile):
        pictures = [Picture(label, f"{name}.png", picture(i)) for label in ("../jay", "tit/<b>") for i in range(3)]
        done = import_pictures(pictures, f"../../out{number}")
        assert (done.folder.parent, done.images) == (root, 6)
        written = [path.relative_to(done.folder) for path in done.folder.rglob("*")]
        assert all(len(path.parts) <= 2 and path.name == safe_name(path.name) for path in written)
    assert {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")} <= {"sets"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("garden birds", "garden birds"),
        ("Été (2024), v1.2", "Été (2024), v1.2"),
        ("E\u0301te", "Éte"),
        ("../../etc/passwd", "etc-passwd"),
        (".hidden", "hidden"),
        ("a\0b\nc", "a-b-c"),
        ("<b>&amp;`*#", "b--amp"),
        ("...", ""),
        ("", ""),
    ],
)
def test_safe_names(text, expected):
    assert safe_name(text) == expected
    assert len(safe_name(text + "鳥" * 300).encode()) <= 200, "it fits a file system"


def test_nothing_is_overwritten_not_even_what_is_made_meanwhile(tmp_path, root):
    def meanwhile(done, total):
        write(root / "tits", {"mine.txt": b"keep"})

    write(root / "birds", {"mine.txt": b"keep"})
    source = write(tmp_path / "birds", BIRDS)
    for name in ("birds", "Birds", "BIRDS ", ".birds"):
        with pytest.raises(DataError, match="already, and it is left as it is"):
            import_dataset(source, name)
    with pytest.raises(DataError, match="was made meanwhile"):
        import_dataset(source, "tits", progress=meanwhile)
    assert files_in(root) == {f"{name}/mine.txt": b"keep" for name in ("birds", "tits")} | {".importing.lock": b""}
    assert there(root) == {"birds", "tits"}


def test_an_interruption_leaves_nothing_and_what_a_killed_import_left_is_cleared_by_the_next(tmp_path, root):
    source = write(tmp_path / "birds", BIRDS)
    for count in (1, 9, 15):  # while images are looked at, and while they are copied
        calls = iter(range(1, 100))

        def interrupt(done, total, count=count, calls=calls):
            if next(calls) == count:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            import_dataset(source, f"birds{count}", progress=interrupt)
        assert there(root) == set()
    code = (
        "import os; from pmsi.data.importing import import_dataset\n"
        f"import_dataset({str(source)!r}, 'birds', progress=lambda done, total: os._exit(9))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 9
    assert len(there(root)) == 1
    assert imported_sets() == {}
    import_dataset(source, "birds")
    assert there(root) == {"birds"}


def test_two_imports_at_once_do_not_mix_and_classes_that_would_become_one_are_named(tmp_path, root):
    source = write(tmp_path / "birds", BIRDS)

    def another(done, total):
        with pytest.raises(DataError, match="Another data set is being imported"):
            import_dataset(source, "other")

    import_dataset(source, "birds", progress=another)
    assert there(root) == {"birds"}
    write(source, {f"great{sign}tit/{i}.png": picture(i) for sign in "<-" for i in range(3)})
    with pytest.raises(DataError, match="would both be called 'great-tit'"):
        import_dataset(source, "tits")
    assert there(root) == {"birds"}


def test_files_that_would_have_one_name_are_numbered(tmp_path):
    names = ("jay/a<b.png", "jay/a>b.png", "jay/in/0.png", "jay/in-0.png")
    more = {name: picture(number) for number, name in enumerate(names, start=1)}
    written = files_in(import_dataset(write(tmp_path / "birds", BIRDS | more), "birds").folder)
    assert sorted(written.values()) == sorted((BIRDS | more).values())
    assert {"jay/a-b.png", "jay/a-b-2.png", "jay/in-0.png", "jay/in-0-2.png"} <= written.keys()


def test_a_class_called_like_a_split_stays_a_class():
    pictures = [Picture(label, f"{i}.png", picture(i)) for label in ("Train", "test") for i in range(3)]
    done = import_pictures(pictures, "stations")
    assert open_dataset(TrainConfig(dataset="folder", data=str(done.folder))).classes == ("Train class", "test class")


def test_single_files_that_are_too_large_or_no_pictures_are_named():
    good = [Picture(label, f"{i}.png", picture(i)) for label in ("jay", "tit") for i in range(3)]
    bad = [Picture("jay", "big.png", bytes(MAX_FILE_BYTES + 1)), Picture("jay", "run.exe", b"MZ"),
           Picture("tit", "half.png", picture()[:50])]  # fmt: skip
    done = import_pictures([*good, *bad], "birds")
    assert done.images == 6
    reasons = " ".join(problem.reason for problem in done.problems)
    assert len(done.problems) == 3
    assert all(words in reasons for words in ("25 MB", "no image", "truncated"))


def test_too_little_a_name_without_letters_and_a_bad_place_are_refused(tmp_path, root, monkeypatch):
    one, broken = {"jay/0.png": picture(), "jay/1.png": picture(1)}, {"jay/0.png": picture(), "tit/1.png": b"no"}
    for files, words in ((one, "Found 1 classes"), (broken, "it is not an image"), ({"notes.txt": b"x"}, "Found 0")):
        with pytest.raises(DataError, match=words):
            import_dataset(write(tmp_path / words, files), "birds")
    source = write(tmp_path / "birds", BIRDS)
    for name in ("", "  ", "...", "/", "<>"):
        with pytest.raises(DataError, match="no letter or digit"):
            import_dataset(source, name)
    with pytest.raises(DataError, match="does not exist"):
        import_dataset(tmp_path / "none", "birds")
    assert there(root) == set()
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("PMSI_DATASETS", str(tmp_path / "file" / "sets"))
    with pytest.raises(DataError, match=r"cannot be written .* Set PMSI_DATASETS"):
        import_dataset(source, "birds")


def test_the_command_does_the_same(tmp_path, pmsi, root):
    write(tmp_path / "birds", BIRDS | {"jay/broken.png": b"no"})
    status, out, _ = pmsi("data", "import", tmp_path / "birds", "--name", "My birds")
    assert (status, files_in(root / "My birds")) == (0, BIRDS)
    assert out.splitlines()[0] == f"{root / 'My birds'}: 2 classes, 8 images"
    assert "jay/broken.png: it is not an image" in out
    assert "My birds (imported)" in pmsi("data", "list")[1]
    status, _, error = pmsi("data", "import", tmp_path / "birds", "--name", "my birds")
    assert status == 2
    assert "Choose another name" in error


def contents_of(dataset):
    """The pictures of each split and class."""
    return {
        (side, dataset.classes[sample.label], sample.digest)
        for side in ("train", "test")
        for sample in dataset.split(side)
    }


LISTED = {f"images/{i:02}.png": picture(9 * i) for i in range(18)}
ROWS = [f"{i:02}.png,{('jay', 'great tit')[i % 2]},{('train', 'test', 'valid')[i // 6]}" for i in range(18)]
CUB = {
    "images.txt": "".join(f"{i} {'ab'[i % 2]}/{i:02}.png\n" for i in range(18)),
    "image_class_labels.txt": "".join(f"{i} {i % 2 + 1}\n" for i in range(18)),
    "train_test_split.txt": "".join(f"{i} {i // 6 % 2}\n" for i in range(18)),
    "classes.txt": "1 001.Jay\n2 002.Great_Tit\n",
}
SOURCES = {
    "lists": LISTED | {"labels.csv": "\n".join(["file_name,label,split", *ROWS])},
    "published": CUB | {f"images/{'ab'[i % 2]}/{i:02}.png": picture(9 * i) for i in range(18)},
    "splits": {f"{split}/{name}": picture(k + 7 * i) for k, split in enumerate(("trn", "tst", "dev"))
               for i, name in enumerate(BIRDS)},
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "form"), [*((kind, "files") for kind in SOURCES), ("lists", "zip"), ("published", "folder")]
)
def test_an_import_has_the_pictures_classes_and_splits_of_its_source(tmp_path, kind, form):
    files = {name: content.encode() if isinstance(content, str) else content for name, content in SOURCES[kind].items()}
    source = write(tmp_path / "source", files)
    if form == "files":
        done = import_files([(f"my folder/{name}", content) for name, content in files.items()], "birds")
    else:
        done = import_dataset(source if form == "folder" else make_zip(tmp_path / "a.zip", files), "birds")
    assert done.images == len([name for name in files if name.endswith(".png")])
    assert "drawn" not in done.read_as
    for test_on in ("test", "val") if kind != "published" else ("test",):
        before, after = (
            open_dataset(TrainConfig(dataset=row, data=str(place), test_on=test_on))
            for row, place in ((kind_of(source), source), ("folder", done.folder))
        )
        assert contents_of(after) == contents_of(before)


def test_paths_of_files_stay_inside(tmp_path, root):
    odd = {"../../a/x.png": picture(1), "/etc/y.png": picture(2), "a/..\\..\\z.png": picture(3), "b/\0.png": picture(4)}
    done = import_files([*BIRDS.items(), *odd.items()], "birds")
    assert done.images > len(BIRDS)
    assert {path.name for path in tmp_path.iterdir()} == {"sets"}
    assert there(root) == {"birds"}
