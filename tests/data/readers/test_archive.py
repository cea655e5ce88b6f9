"""Zips of class folders: the same data set as the folder, unpacked once, and nothing that could do harm."""

import io
import itertools
import os
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from photos import make_zip, picture

from pmsi.base.errors import DataError
from pmsi.config import TrainConfig
from pmsi.data import check_folder, open_dataset
from pmsi.data.cache import zips
from pmsi.data.cache.disk import remove_unused
from pmsi.data.readers.archive import contents
from pmsi.data.readers.archive_rules import Limits
from pmsi.data.readers.unpacking import unpacked
from pmsi.data.record import DataRecord

ROOT = Path(__file__).parents[3]


BIRDS = {f"{name}/{i}.png": picture(10 * i) for name in ("jay", "tit") for i in range(6)}


def make_tar(path, files, mode="w:gz", *more):
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
        for about in more:
            tar.addfile(about)
    return path


def below(files, *places):
    return {f"{place}/{name}": content for place in places for name, content in files.items()}


def opened(place, **settings):
    return open_dataset(TrainConfig(dataset="folder", data=str(place), **settings))


def left_in(cache):
    """What unpacking left in the cache, apart from locks."""
    place = cache / "zips"
    return sorted(path.name for path in place.iterdir() if path.is_dir()) if place.exists() else []


def splits(dataset):
    return [[(sample.key, sample.label) for sample in dataset.split(name)] for name in ("train", "test")]


# --- What is read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "top", "split"),
    [
        ("zip", "", ()),
        ("zip", "a/birds/", ("train", "test")),
        ("tar", "birds/", ("train", "test")),
        ("tgz", "a/birds/", ()),
        ("tbz", "", ("Train", "val")),
        ("txz", "", ()),
    ],
)
def test_an_archive_is_the_same_data_set_as_the_folder(tmp_path, form, top, split):
    files = (below(BIRDS, *split) if split else BIRDS) | {"@eaDir/x.jpg": b"x", "notes.md": b"text", "jay.txt": b"list"}
    files |= {"jay/no suffix": picture(70), ".DS_Store": b""} if not split else {}
    for name, content in files.items():
        target = tmp_path / "birds" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    wrapped = {top + name: content for name, content in files.items()}
    if form == "zip":
        zipped = make_zip(tmp_path / "birds.zip", wrapped, zipfile.ZIP_LZMA if split else zipfile.ZIP_BZIP2)
    else:
        zipped = make_tar(
            tmp_path / f"birds.{form}", wrapped, {"tar": "w", "tgz": "w:gz", "tbz": "w:bz2", "txz": "w:xz"}[form]
        )
    ours, theirs = opened(zipped), opened(tmp_path / "birds")
    assert (ours.name, ours.classes, splits(ours)) == (theirs.name, theirs.classes, splits(theirs))
    assert (ours.passed_over, ours.problems, ours.layout) == (theirs.passed_over, theirs.problems, theirs.layout)
    assert DataRecord.of(ours).digest == DataRecord.of(theirs).digest
    assert splits(opened(zipped)) == splits(ours)
    written = {path.name for path in unpacked(zipped).rglob("*") if path.is_file()}
    assert not written & {"x.jpg", "notes.md", ".DS_Store"}, "what is no image and no list is not written"
    for sample in (*ours.train, *ours.test):
        assert ours.open_image(sample).tobytes() == theirs.open_image(theirs.find(sample.key)).tobytes()


# --- Once, whole, and never stale ----------------------------------------------------------------------------------


def in_a_process(code, zipped):
    """Run ``code`` elsewhere; it knows ``unpacked`` and ``zipped``."""
    start = (
        f"from pathlib import Path; from pmsi.data.readers.unpacking import unpacked; zipped = Path({str(zipped)!r}); "
    )
    return subprocess.Popen([sys.executable, "-c", start + code], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_changed_zip_is_unpacked_anew(tmp_path):
    zipped = make_zip(tmp_path / "a.zip", BIRDS, zipfile.ZIP_STORED)
    home, about = unpacked(zipped), zipped.stat()
    assert unpacked(zipped) == home
    make_zip(zipped, BIRDS | {"tit/0.png": picture(99)}, zipfile.ZIP_STORED)
    os.utime(zipped, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert zipped.stat().st_size == about.st_size  # same place, size and time, another picture
    assert (unpacked(zipped) / "tit" / "0.png").read_bytes() == picture(99)
    assert (home / "tit" / "0.png").read_bytes() == picture(0)  # a run may still read it


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_what_a_crash_or_a_cleaner_took_is_brought_back(tmp_path, cache, harm):
    zipped = make_zip(tmp_path / "a.zip", BIRDS)
    victim = unpacked(zipped) / "jay" / "3.png"
    harm(victim)
    assert unpacked(zipped) == victim.parent.parent
    assert victim.read_bytes() == BIRDS["jay/3.png"]
    assert len(left_in(cache)) == 1


def test_an_interruption_leaves_nothing_and_what_a_killed_process_left_is_cleared(tmp_path, cache):
    def interrupt(done, total):
        if done == 5:
            raise KeyboardInterrupt

    zipped = make_zip(tmp_path / "a.zip", BIRDS)
    with pytest.raises(KeyboardInterrupt):
        unpacked(zipped, interrupt)
    assert left_in(cache) == []
    child = in_a_process("import os; unpacked(zipped, lambda done, total: done == 5 and os._exit(9))", zipped)
    child.communicate()
    assert child.returncode == 9
    assert [name.endswith(".tmp") for name in left_in(cache)] == [True]
    assert len(opened(zipped).train) + len(opened(zipped).test) == 12
    assert [name.endswith(".tmp") for name in left_in(cache)] == [False]


def test_of_several_processes_one_unpacks(tmp_path):
    zipped = make_zip(tmp_path / "a.zip", BIRDS)
    count = "calls = []; home = unpacked(zipped, lambda *call: calls.append(call)); print(len(calls), home)"
    children = [in_a_process(count, zipped) for _ in range(2)]
    written, homes = zip(*(child.communicate()[0].split() for child in children), strict=True)
    assert sorted(written) == ["0", "12"]
    assert len(set(homes)) == 1


# --- What is refused -----------------------------------------------------------------------------------------------


def entry(name, mode=0):
    """An entry of any name, which `zipfile` would make harmless."""
    made = zipfile.ZipInfo("placeholder")
    made.filename = name
    made.external_attr = mode << 16
    return made


def with_entry(path, made, content=b"x"):
    with zipfile.ZipFile(make_zip(path, BIRDS), "a") as zipped:
        zipped.writestr(made, content)
    return path


UNSAFE = {
    "has a path that leads out": [entry("../x.png"), entry("jay/../../x.png"), entry("jay\\..\\..\\x.png")],
    "is a link": [entry("jay/x.png", stat.S_IFLNK | 0o777), entry("__MACOSX/x", stat.S_IFLNK | 0o777)],
    "folders deep": [entry("a/" * 65 + "x.png")],
    "a path of more than": [entry("a/" * 30_000 + "x.png")],
    "is neither a file nor a folder": [entry("jay/x.png", stat.S_IFIFO | 0o644), entry("x", stat.S_IFCHR)],
    "has a name with control characters": [entry("jay/\n.png")],
    "has a name of more than 255 bytes": [entry("jay/" + "é" * 130 + ".png")],
}


@pytest.mark.parametrize(("reason", "made"), [(reason, made) for reason, rows in UNSAFE.items() for made in rows])
def test_unsafe_entries_refuse_the_whole_zip(tmp_path, cache, reason, made):
    zipped = with_entry(tmp_path / "a.zip", made)
    for look in (check_folder, open_dataset):
        with pytest.raises(DataError, match=rf"a\.zip: .*{reason}") as caught:
            look(TrainConfig(dataset="folder", data=str(zipped)))
        assert repr(made.filename[:300]) in str(caught.value)
        assert "Nothing was unpacked" in str(caught.value)
    assert left_in(cache) == []
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_encrypted_entries_and_a_file_that_is_a_folder_too_are_refused(tmp_path):
    data = bytearray(make_zip(tmp_path / "a.zip", {"jay/0.png": picture(), "tit/0.png": picture()}).read_bytes())
    at = data.rindex(b"PK\1\2")  # the last entry of the list: its flags are at 8
    data[at + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"'tit/0\.png' is encrypted"):
        contents(tmp_path / "a.zip")
    with pytest.raises(DataError, match="cannot both be there"):
        contents(with_entry(tmp_path / "a.zip", entry("jay/0.png/x.png")))


@pytest.mark.parametrize(
    "name", ["/jay/x.png", "\\\\server\\jay\\x.png", "./jay/x.png", "jay\\x.png", "C:/x.png", "jay/0.PNG", "JAY/x.png"]
)
def test_odd_but_harmless_names_stay_inside(tmp_path, name):
    home = unpacked(with_entry(tmp_path / "a.zip", entry(name), picture(77)))
    (extra,) = {path for path in home.rglob("*") if path.is_file()} - {home / known for known in BIRDS}
    assert extra.read_bytes() == picture(77)


@pytest.mark.parametrize("other", ["jay/0.png", "./jay\\0.png"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_one_name_listed_twice_the_last_counts(tmp_path, other):
    zipped = with_entry(tmp_path / "a.zip", entry(other), picture(77))
    assert contents(zipped).passed_over == {"listed twice (.png)": 1}
    assert (unpacked(zipped) / "jay" / "0.png").read_bytes() == picture(77)


NAMES = ("Möwe", "日本")


def unflagged(path, names, extra=lambda name: b""):
    """A zip whose names are these bytes, without a word on their encoding."""
    with zipfile.ZipFile(path, "w") as zipped:
        for number, name in enumerate(names):
            for i in range(2):
                made = zipfile.ZipInfo(f"{'xyz'[number] * len(name)}/{i}.png")
                made.extra = extra(name + f"/{i}.png".encode())
                zipped.writestr(made, picture(i + 10 * len(name)))
    data = path.read_bytes()
    for number, name in enumerate(names):
        data = data.replace(b"xyz"[number : number + 1] * len(name) + b"/", name + b"/", 4)
    path.write_bytes(data)
    return path


def test_names_without_a_flag_are_read_as_utf8_or_by_their_extra_field(tmp_path):
    expected = {f"{name}/{i}.png" for name in NAMES for i in range(2)}
    plain = unflagged(tmp_path / "a.zip", [name.encode() for name in NAMES])
    assert set(contents(plain).files) == expected

    def unicode_path(raw):
        body = b"\1" + struct.pack("<I", zlib.crc32(raw)) + raw.decode("gbk").encode()
        return struct.pack("<HH", 0x7075, len(body)) + body

    other = unflagged(tmp_path / "b.zip", ["麻雀".encode("gbk")], unicode_path)
    assert set(contents(other).files) == {f"麻雀/{i}.png" for i in range(2)}


def test_names_in_another_encoding_are_asked_for_and_read_in_it(tmp_path):
    zipped = unflagged(tmp_path / "a.zip", [name.encode("gbk") for name in ("麻雀", "喜鹊鸟")])
    with pytest.raises(DataError, match=r"'麻雀/0\.png' in gbk") as caught:
        opened(zipped)
    assert "name_encoding" in str(caught.value)
    assert opened(zipped, name_encoding="gbk", split="stratified").classes == ("喜鹊鸟", "麻雀")
    for wrong in ("utf-8", "no such"):
        with pytest.raises(DataError, match="Found: "):
            opened(zipped, name_encoding=wrong)


# --- Tars ----------------------------------------------------------------------------------------------------------


def linked(name, target, kind=tarfile.SYMTYPE):
    about = tarfile.TarInfo(name)
    about.type, about.linkname = kind, target
    return about


def test_links_inside_a_tar_become_files(tmp_path):
    links = [linked("jay/soft.png", "../tit/0.png"), linked("jay/hard.png", "tit/1.png", tarfile.LNKTYPE)]
    home = unpacked(make_tar(tmp_path / "a.tgz", BIRDS, "w:gz", *links))
    assert (home / "jay" / "soft.png").read_bytes() == BIRDS["tit/0.png"]
    assert (home / "jay" / "hard.png").read_bytes() == BIRDS["tit/1.png"]
    assert not any(path.is_symlink() for path in home.rglob("*"))


HOSTILE = [
    linked("jay/x.png", "/etc/passwd"),
    linked("jay/x.png", "../../etc/passwd"),
    linked("jay/x.png", "nothing.png"),
    linked("x", "/etc", tarfile.LNKTYPE),
    linked("../x.png", "jay/0.png"),
    linked("pipe.png", "", tarfile.FIFOTYPE),
]


@pytest.mark.parametrize("made", HOSTILE)
def test_unsafe_entries_refuse_the_whole_tar(tmp_path, cache, made):
    with pytest.raises(DataError, match="Nothing was unpacked"):
        unpacked(make_tar(tmp_path / "a.tgz", BIRDS, "w:gz", made))
    assert left_in(cache) == []


def test_a_tar_is_listed_once_and_a_changed_one_anew(tmp_path, monkeypatch):
    tar = make_tar(tmp_path / "a.tgz", BIRDS)
    home = unpacked(tar)
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", lambda *given, **options: pytest.fail("listed again"))
        assert unpacked(tar) == home
    make_tar(tar, BIRDS | {"tit/0.png": picture(99)})
    assert (unpacked(tar) / "tit" / "0.png").read_bytes() == picture(99)


def test_bombs_and_damaged_tars_leave_nothing(tmp_path, cache):
    bomb = make_tar(tmp_path / "a.tgz", BIRDS | {"jay/x.png": bytes(5 * 10**6), "notes.md": bytes(10**7)})
    with pytest.raises(DataError, match="unpacks to"):
        unpacked(bomb, limits=Limits(harmless_bytes=10**6))
    with pytest.raises(DataError, match="more than 5 entries"):
        unpacked(bomb, limits=Limits(entries=5))
    with pytest.raises(DataError, match=r"labels\.csv.*Expected a list"):
        contents(make_tar(tmp_path / "l.tar", BIRDS | {"labels.csv": bytes(99)}, "w"), Limits(list_bytes=98))
    for mode, name in (("w:gz", "b.tgz"), ("w", "b.tar"), ("w:bz2", "b.tbz")):
        whole = make_tar(tmp_path / name, BIRDS, mode).read_bytes()
        for cut in (30, len(whole) // 3, len(whole) // 2):
            (tmp_path / name).write_bytes(whole[:cut])
            with pytest.raises(DataError):
                unpacked(tmp_path / name)
    assert left_in(cache) == []


# --- Too much ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("many", ["entries", "folders"])
def test_a_zip_of_very_many_entries_or_folders_is_refused_before_anything_is_made_of_them(tmp_path, monkeypatch, many):
    """A list of entries is as long as it is, whatever the zip says of it."""
    paths = [f"{i:05}.png" if many == "entries" else "/".join(f"{i}{j}" for j in range(20)) for i in range(3000)]
    zipped = make_zip(tmp_path / "a.zip", dict.fromkeys(paths, b""))
    if many == "entries":
        monkeypatch.setattr(zipfile.ZipInfo, "__init__", lambda *_: pytest.fail("an entry was made"))
    with pytest.raises(DataError, match=f"{many}"):
        contents(zipped, Limits(entries=2999) if many == "entries" else Limits(folders=1000))


def test_any_damaged_byte_is_refused_or_harmless(tmp_path, cache):
    zipped = make_zip(tmp_path / "a.zip", {"jay/0.png": picture(), "tit/0.png": picture(7)})
    whole = zipped.read_bytes()
    start, refused = whole.index(b"PK\1\2"), 0
    places = range(start, len(whole), 3)
    for at in places:  # in the list of entries and its end
        zipped.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        try:
            unpacked(zipped)
        except DataError:
            refused += 1
        assert not any(name.endswith(".tmp") for name in left_in(cache))
    assert refused > len(places) // 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_what_is_no_zip_or_holds_no_image_says_so(tmp_path):
    for content in (b"", b"PK\5\6", b"\x1f\x8b\x08 a tar", b"<html>"):
        (tmp_path / "a.zip").write_bytes(content)
        with pytest.raises(DataError, match="is not a zip or tar, or damaged"):
            contents(tmp_path / "a.zip")
    for content, what in ((b"7z\xbc\xaf'", "a 7z archive"), (b"Rar!\x1a", "a RAR archive")):
        (tmp_path / "a.zip").write_bytes(content)
        with pytest.raises(DataError, match=f"is {what}: unpack it"):
            contents(tmp_path / "a.zip")
    with pytest.raises(DataError, match=r"holds no image.*other archives.*train/CLASS"):
        contents(make_zip(tmp_path / "a.zip", {"jay/notes.txt": b"x", "jay/more.zip": b"x"}))


def test_a_full_disk_and_a_cache_that_cannot_be_written_say_what_to_do(tmp_path, cache, monkeypatch):
    zipped = make_zip(tmp_path / "a.zip", BIRDS)
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=zips.SPARE_BYTES))
        with pytest.raises(DataError, match="PMSI_CACHE"):
            unpacked(zipped)
    assert left_in(cache) == []
    monkeypatch.setenv("PMSI_CACHE", str(zipped / "cache"))
    with pytest.raises(DataError, match=r"a\.zip cannot be unpacked into .*Set PMSI_CACHE"):
        unpacked(zipped)


# --- Bombs, as they are made ---------------------------------------------------------------------------------------


def test_ten_gigabytes_of_zeros_are_refused_before_a_byte_is_written(tmp_path, cache):
    """A zip whose list says 10 GB, made by hand: a megabyte of deflated zeros listed 10,000 times over."""
    zipped = make_zip(tmp_path / "a.zip", {"jay/0.png": bytes(2**20)})
    with zipfile.ZipFile(zipped) as small:
        listed = small.getinfo("jay/0.png")
    packed = zipped.read_bytes()
    names = [f"jay/{number}.png" for number in range(10_000)]
    rows = b"".join(central(name, listed) for name in names)
    start = packed.rindex(b"PK\1\2")
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(names), len(names), len(rows), start, 0)
    zipped.write_bytes(packed[:start] + rows + end)  # all rows point at the same bytes
    assert zipped.stat().st_size < 10**6
    for limits in (Limits(), Limits(unpacked_bytes=10**12)):
        with pytest.raises(DataError, match=r"unpacks to [\d,]+ times its size|Expected at most"):
            unpacked(zipped, limits=limits)
    assert left_in(cache) == []


def central(name, like):
    """A row of the list of entries, by the format's specification."""
    fields = (20, 20, 0, like.compress_type, 0, 0, like.CRC, like.compress_size, like.file_size, len(name))
    return b"PK\1\2" + struct.pack("<6H3L5H2L", *fields, 0, 0, 0, 0, 0, like.header_offset) + name.encode()


def test_a_million_entries_are_refused_without_being_read(tmp_path):
    """Its end says so many, and the list would take 60 MB: neither is believed nor read."""
    with zipfile.ZipFile(make_zip(tmp_path / "b.zip", {"jay/0.png": b""})) as small:
        listed = small.getinfo("jay/0.png")
    rows = b"".join(central(f"jay/{number:07}.png", listed) for number in range(1000)) * 1000
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 10**6, 10**6, len(rows), 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(rows), 1)
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    (tmp_path / "a.zip").write_bytes(rows + end + locator + last)
    with pytest.raises(DataError, match="its list of entries takes"):
        contents(tmp_path / "a.zip")


# --- What is kept --------------------------------------------------------------------------------------------------


SIZE = sum(map(len, BIRDS.values()))


@pytest.fixture
def old(tmp_path):
    """Two unpacked zips that nobody uses, the longest unused last."""
    homes = []
    for used in (2000, 1000):
        child = in_a_process("print(unpacked(zipped))", make_zip(tmp_path / f"{used}.zip", BIRDS))
        homes.append(Path(child.communicate()[0].strip()))
        os.utime(homes[-1].with_name(f"{homes[-1].name}.use"), (used, used))
    return homes


def test_the_longest_unused_zips_make_room_in_the_cache_and_on_the_disk(tmp_path, old, cache, monkeypatch):
    monkeypatch.setattr(zips, "KEPT_BYTES", 2 * SIZE)
    new = unpacked(make_zip(tmp_path / "new.zip", BIRDS))
    assert [home.exists() for home in (new, *old)] == [True, True, False]
    monkeypatch.setattr(zips, "KEPT_BYTES", 10 * SIZE)
    about = shutil.disk_usage(tmp_path)
    usage = lambda place: about._replace(free=zips.SPARE_BYTES + SIZE * (2 - len(left_in(cache))))  # noqa: E731
    monkeypatch.setattr(shutil, "disk_usage", usage)
    newer = unpacked(make_zip(tmp_path / "newer.zip", BIRDS))
    assert [home.exists() for home in (newer, new, *old)] == [True, True, False, False], "what is in use stays"


def test_what_failed_is_not_in_use(tmp_path, cache):
    zipped = make_zip(tmp_path / "a.zip", BIRDS, zipfile.ZIP_STORED)
    zipped.write_bytes(zipped.read_bytes().replace(BIRDS["tit/3.png"], bytes(len(BIRDS["tit/3.png"]))))
    with pytest.raises(DataError, match="damaged"):
        unpacked(zipped)
    (kept,) = zips.zip_entries(cache / "zips")
    assert remove_unused(kept)
    assert {path.name for path in (cache / "zips").iterdir()} == {"lock"}


def test_a_tar_that_takes_long_to_unpack_is_given_up(tmp_path, monkeypatch):
    """Time is counted on the way through one large file, whose unpacking is a single step of tarfile's."""
    large = make_tar(tmp_path / "a.tbz", {"birds/jay/0.png": bytes(90 * 2**20)}, "w:bz2")
    clock = itertools.count()
    monkeypatch.setattr(time, "thread_time", lambda: next(clock))
    with pytest.raises(DataError, match="more than 5 s"):
        contents(large, Limits(tar_s=5))
