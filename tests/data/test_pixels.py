"""Images that are kept: the same pixels as a fresh decode, whatever was changed, killed, full or in use in between."""

import errno
import mmap
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from photos import photo
from PIL import Image
from waiting import until

from pmsi.data.cache import pixels
from pmsi.data.cache.pixels import PixelFile, Pixels
from pmsi.data.checking import open_sample
from pmsi.data.dataset import Dataset, Sample

# These forks use no thread of the parent, whatever other tests have started there.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
    pytest.mark.usefixtures("settled"),
]

SIDE, COUNT = 40, 6


@pytest.fixture
def settled(monkeypatch):
    """Let files count that were written a moment ago, as those of the tests are."""
    monkeypatch.setattr(pixels, "SETTLED_S", 0)


@pytest.fixture(autouse=True)
def _code_looked_up_anew():
    """Tests put other code in the place of ours."""
    pixels._code.cache_clear()
    yield
    pixels._code.cache_clear()


@pytest.fixture
def birds(tmp_path):
    """Images in files of one size in bytes, as bitmaps are not compressed."""
    return dataset(draw(tmp_path / f"{i}.bmp", i) for i in range(COUNT))


def draw(path, seed):
    return photo(path, (60, 50), seed)


@pytest.fixture
def decoded(monkeypatch):
    """A list that grows by one with each image that this process decodes."""
    opened, resize = [], pixels.resize

    def counting(image, side):
        opened.append(image)
        return resize(image, side)

    monkeypatch.setattr(pixels, "resize", counting)
    return opened


def dataset(paths):
    samples = tuple(Sample(path.name, 0, path) for path in paths)
    return Dataset("birds", ("bird",), samples, (), open_sample)


def fresh(sample, side=SIDE):
    """Return what the image is now, by Pillow alone."""
    with Image.open(sample.path) as image:
        return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))


def equal(shown, side=SIDE):
    return all(np.array_equal(shown[i], fresh(shown.samples[i], side)) for i in range(len(shown)))


def fill(data, side=SIDE):
    shown = Pixels(data, data.train, side)
    assert equal(shown, side)
    return shown


def stored():
    """Return the files of images there are, the longest unused first."""
    found = Path(os.environ["PMSI_CACHE"], "pixels").glob("*.pixels")
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


def forked(work):
    """Run ``work`` in a forked child, and return its id; it exits with 1 where the work fails."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(child):
    os.kill(child, signal.SIGKILL)
    assert ended(child) == -signal.SIGKILL


# What is shared


def test_images_are_decoded_once_for_all_who_read_the_same_files(birds, decoded):
    shown = Pixels(birds, birds.train, SIDE)
    assert ended(forked(lambda: equal(shown))) == 0
    assert equal(shown)
    fill(birds)
    assert not decoded, "what a forked reader stores serves its parent"
    assert len(stored()) == 1


def test_what_is_drawn_or_opened_in_another_way_is_kept_in_memory(birds, colour_dataset, decoded):
    inverted = Dataset("negatives", birds.classes, birds.train, (), lambda s: Image.fromarray(255 - fresh(s, 64)))
    for data, count in ((inverted, COUNT), (colour_dataset, 32)):
        shown = Pixels(data, data.train, 64)
        for i, sample in [*enumerate(data.train)] * 2:
            assert np.array_equal(shown[i], np.asarray(data.open_image(sample)))
        assert len(decoded) == count
        decoded.clear()
    assert not stored()


# Never stale


def replaced(path):
    """Another image of the same size in bytes, with the times of the old one where they can be set."""
    before = path.stat()
    draw(path.with_name("new.bmp"), 100).replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def rewritten(path):
    before = path.stat()
    until(lambda: draw(path, 100).stat().st_mtime_ns != before.st_mtime_ns)


def relinked(path):
    other = draw(path.with_name("other.bmp"), 100)
    path.unlink()
    path.symlink_to(other)


@pytest.mark.parametrize("change", [replaced, relinked])
def test_a_changed_file_is_decoded_anew(birds, change):
    fill(birds)
    old = fresh(birds.train[2])
    change(birds.train[2].path)
    assert not np.array_equal(fresh(birds.train[2]), old)
    assert equal(Pixels(birds, birds.train, SIDE))


def test_a_file_that_changes_while_it_is_read_is_not_stored_under_the_name_of_the_old_one(birds, monkeypatch):
    def change_after(image, side, path=birds.train[0].path):
        rewritten(path)
        return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))

    monkeypatch.setattr(pixels, "resize", change_after)
    shown, old = Pixels(birds, birds.train, SIDE), fresh(birds.train[0])
    assert np.array_equal(shown[0], old)
    (path,) = stored()
    assert PixelFile(path, COUNT, SIDE).read(0) is None


@pytest.mark.parametrize("change", ["another Pillow", "another resize"])
def test_other_code_makes_other_images(birds, change, monkeypatch):
    fill(birds)
    pixels._code.cache_clear()
    if change == "another Pillow":
        monkeypatch.setattr(pixels.features, "version", lambda name: "99.0")
    else:
        nearest = Image.Resampling.NEAREST
        monkeypatch.setattr(pixels, "resize", lambda image, side: np.asarray(image.resize((side, side), nearest)))
    changed = Pixels(birds, birds.train, SIDE)[0]
    assert np.array_equal(changed, fresh(birds.train[0])) == (change == "another Pillow")
    assert len(stored()) == 2


# Never torn


def one_bit(path, at):
    with path.open("r+b") as file:
        file.seek(at + 1234)
        (byte,) = file.read(1)
        file.seek(at + 1234)
        file.write(bytes([byte ^ 1]))


def cut_off(path, at):
    os.truncate(path, at + 99)


def garbage(path, at):
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))


@pytest.mark.parametrize("damage", [one_bit, cut_off, garbage])
def test_a_damaged_image_is_found_out_and_stored_again(birds, damage, decoded):
    fill(birds)
    (path,) = stored()
    last = mmap.PAGESIZE + (COUNT - 1) * SIDE * SIDE * 3
    assert path.stat().st_size == last + SIDE * SIDE * 3
    damage(path, last)
    decoded.clear()
    fill(birds)
    assert len(decoded) == (COUNT if damage is garbage else 1)
    decoded.clear()
    fill(birds)
    assert not decoded


def test_kill_9_of_who_fills_leaves_no_torn_image(tmp_path, decoded):
    side, count, after = 256, 200, 5
    drawn = [draw(tmp_path / f"{i}.bmp", i) for i in range(4)]
    many = dataset(drawn[i % 4] for i in range(count))
    expected = [fresh(sample, side) for sample in many.train[:4]]
    shown = Pixels(many, many.train, side)  # before the fork, as a loader does

    def fill_all(shown=shown):
        for i in range(count):
            _ = shown[i]
        signal.pause()

    child = forked(fill_all)
    look = PixelFile(stored()[0], count, side)
    until(lambda: look.read(after) is not None)  # noqa: F821 (deleted after this)
    kill(child)
    del look, shown, fill_all
    found = PixelFile(stored()[0], count, side)
    served = {i: image for i in range(count) if (image := found.read(i)) is not None}
    assert len(served) > after
    assert all(np.array_equal(image, expected[i % 4]) for i, image in served.items())
    shown = Pixels(many, many.train, side)
    assert all(np.array_equal(shown[i], expected[i % 4]) for i in range(after + 5))
    assert len(decoded) == sum(i not in served for i in range(after + 5))


def test_several_processes_fill_at_once(birds, decoded):
    def work(order):
        shown = Pixels(birds, birds.train, SIDE)
        assert all(np.array_equal(shown[i], fresh(birds.train[i])) for i in order)

    orders = [range(COUNT), range(COUNT - 1, -1, -1), [3, 1, 5, 0, 2, 4]]
    assert [ended(child) for child in [forked(lambda order=order: work(order)) for order in orders]] == [0, 0, 0]
    fill(birds)
    assert not decoded
    assert len(stored()) == 1


# Where it does not fit


def just_changed(monkeypatch, tmp_path):
    """A file that was written a moment ago could change unseen."""
    monkeypatch.setattr(pixels, "SETTLED_S", 3600)


def no_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PMSI_CACHE", str(draw(tmp_path / "a-file.bmp", 0)))


def no_writing(monkeypatch, tmp_path):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)


def half_writes(monkeypatch, tmp_path):
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: pwrite(file, data[: SIDE * SIDE], at))


def limit_reached(monkeypatch, tmp_path):
    monkeypatch.setattr(pixels, "LIMIT_BYTES", COUNT * SIDE * SIDE * 3 - 1)


def full_disk(monkeypatch, tmp_path):
    about = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: about._replace(free=pixels.SPARE_BYTES))


@pytest.mark.parametrize("trouble", [just_changed, no_folder, no_writing, half_writes, limit_reached, full_disk])
def test_what_cannot_be_stored_is_kept_in_memory(birds, trouble, monkeypatch, tmp_path, decoded):
    trouble(monkeypatch, tmp_path)
    shown = fill(birds)
    assert equal(shown)
    assert len(decoded) == COUNT
    fill(birds)
    assert len(decoded) == 2 * COUNT


def test_a_disk_that_fills_up_keeps_what_is_stored_and_the_rest_is_kept_in_memory(birds, monkeypatch, decoded):
    shown = Pixels(birds, birds.train, SIDE)
    assert np.array_equal(shown[4], fresh(birds.train[4]))
    full_disk(monkeypatch, Path())
    assert equal(shown)
    assert equal(shown)
    assert len(decoded) == COUNT
    fill(birds)
    assert len(decoded) == 2 * COUNT - 1


# What is removed


@pytest.fixture
def room_for_two(monkeypatch):
    monkeypatch.setattr(pixels, "LIMIT_BYTES", 2 * (COUNT * SIDE * SIDE * 3 + mmap.PAGESIZE))


def files_of(birds, turns):
    """Fill the files of as many lists, at different times, and return their paths; none is left open."""
    paths = []
    for turn in range(turns):
        fill_turned(birds, turn)
        paths += [path for path in stored() if path not in paths]
        os.utime(paths[-1], ns=(turn, turn))
    return paths


def fill_turned(birds, turn):
    samples = birds.train[turn:] + birds.train[:turn]
    shown = Pixels(birds, samples, SIDE)
    assert equal(shown)
    return shown


@pytest.mark.usefixtures("room_for_two")
@pytest.mark.parametrize("held", ["object", "image"])
def test_a_file_in_use_is_never_removed(birds, held):
    first, second = files_of(birds, 2)
    user = fill_turned(birds, 0)
    if held == "image":
        user = user[3]
    os.utime(first, ns=(0, 0))
    fill_turned(birds, 2)
    assert first.exists()
    assert not second.exists()
    del user
    os.utime(first, ns=(0, 0))
    fill_turned(birds, 3)
    assert not first.exists()


@pytest.mark.usefixtures("room_for_two")
def test_a_file_is_in_use_as_long_as_a_process_lives_that_reads_it(birds, tmp_path):
    files = files_of(birds, 2)

    def read():
        using = [fill_turned(birds, turn) for turn in (0, 1)]
        (tmp_path / "ready").touch()
        signal.pause()
        assert using

    child = forked(read)
    until((tmp_path / "ready").exists)
    fill_turned(birds, 2)
    assert sorted(stored()) == sorted(files)
    kill(child)
    fill_turned(birds, 2)
    assert len(stored()) == 2
    assert sum(path.exists() for path in files) == 1
