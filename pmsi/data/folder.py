"""Any pictures sorted into one folder per class, with a split of their own or with one made from a seed.

    flowers/train/daisy/1.jpg        flowers/daisy/1.jpg
    flowers/train/rose/2.jpg   or    flowers/daisy/2.jpg
    flowers/test/daisy/3.jpg         flowers/rose/3.jpg

In place of ``test``, a folder may have ``val``, ``valid`` or ``validation``; the data set's name then says so.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pmsi.data.checking import Progress, assemble, check, real_folder
from pmsi.data.dataset import Dataset, Problem, Sample
from pmsi.errors import DataError
from pmsi.seeding import SEED_BITS, derive

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif")
)
"""What counts as an image, in small letters. The last three cannot be read, and are listed to be reported."""

TEST_FOLDERS = ("test", "val", "valid", "validation")
"""Where test images are looked for; the first that exists is taken, the others are left alone."""

LAYOUT = "Expected train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg."


def folder(
    root: str | Path,
    *,
    test_fraction: float = 0.3,
    split: str = "content",
    split_seed: int = 0,
    name: str | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Return the pictures below ``root`` as a data set called ``name``, or as the folder; keys are paths from there.

    Without train and test folders, ``test_fraction`` of each class is drawn for testing by ``split_seed``
    (`DRAWS[split]`). Classes are in the order of their names. Hidden files and other files than images are passed over;
    pictures outside a class folder, and links that leave ``root``, are problems. Raises DataError where the layout is
    not one of these.
    """
    home = Path(root)
    if not home.is_dir():
        raise DataError(f"{home} is not a folder. {LAYOUT}")
    name = name or home.name
    train_folder, test_folder = split_folders(home)
    problems: list[Problem] = []
    if train_folder is None or test_folder is None:
        samples, classes = _samples(home, [home], problems)
        good, bad = check(samples, home, progress)
        tested = DRAWS[split](good, test_fraction, split_seed)
    else:
        samples, classes = _samples(home, [train_folder, test_folder], problems)
        good, bad = check(samples, home, progress)
        tested = {sample.key for sample in good if sample.key.startswith(f"{test_folder.name}/")}
        name += "" if test_folder.name.lower() == "test" else f", tested on {test_folder.name}/"
    return assemble(name, classes, good, tested, [*problems, *bad])


def by_content(samples: Iterable[Sample], test_fraction: float, seed: int) -> set[str]:
    """Return the keys of the test images: each image is drawn with the chance ``test_fraction``, by its own pixels.

    So its side depends on nothing else, whatever images come and go, and equal images are on one side. A small class
    may have no test image; one whose images are all drawn keeps the last of them for training. Only where a collection
    is so small that no image is drawn at all, each class of two images or more gives its first.
    """
    by_class: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for sample in samples:
        chance = derive(seed, "test", sample.digest or sample.key) / 2**SEED_BITS
        by_class[sample.label].append((chance, sample.key))
    chosen = {
        key
        for drawn in by_class.values()
        for chance, key in drawn
        if chance < min(test_fraction, max(chance for chance, _ in drawn))
    }
    return chosen or {min(drawn)[1] for drawn in by_class.values() if len(drawn) > 1}


def stratified(samples: Iterable[Sample], test_fraction: float, seed: int) -> set[str]:
    """Return the keys of the test images: the same share of each class, drawn by each image's own key.

    A class of two images or more has at least one on either side; a single image is for training.
    """
    by_class = defaultdict(list)
    for sample in samples:
        by_class[sample.label].append(sample.key)
    chosen: set[str] = set()
    for keys in by_class.values():
        count = min(max(round(len(keys) * test_fraction), 1), len(keys) - 1)
        chosen.update(sorted(keys, key=lambda key: derive(seed, "test", key))[:count])
    return chosen


DRAWS: dict[str, Callable[[Iterable[Sample], float, int], set[str]]] = {
    "content": by_content,
    "stratified": stratified,
}
"""How the test images of a collection without a split are drawn: (samples, share, seed) → their keys."""


def split_folders(home: Path) -> tuple[Path | None, Path | None]:
    """Return the train and the test folder, or (None, None) where there is neither."""
    by_name = {path.name.lower(): path for path in sorted(home.iterdir()) if path.is_dir()}
    train = by_name.get("train")
    test = next((by_name[name] for name in TEST_FOLDERS if name in by_name), None)
    if train is not None and test is None:
        raise DataError(
            f"{home} has {train.name}/ but no test/ (nor val/, valid/). Add one, or give {train} itself to have "
            "it split."
        )
    if train is None and test is not None:
        raise DataError(f"{home} has {test.name}/ but no train/. {LAYOUT}")
    return train, test


def _samples(home: Path, tops: list[Path], problems: list[Problem]) -> tuple[list[Sample], list[str]]:
    """Return the labelled images below ``tops``, in the order of their keys, and the names of their classes."""
    found: list[tuple[str, str, Path]] = []
    for top in tops:
        for path in _files(home, top, frozenset([real_folder(top)]), problems):
            key, inner = path.relative_to(home).as_posix(), path.relative_to(top).parts
            if not _is_text(key):
                problems.append(Problem(repr(key), "its name is not valid UTF-8; rename it"))
            elif len(inner) == 1:
                problems.append(Problem(key, "it lies in no class folder"))
            else:
                found.append((key, inner[0], path))
    classes = sorted({name for _, name, _ in found})
    labels = {name: label for label, name in enumerate(classes)}
    return [Sample(key, labels[name], path) for key, name, path in sorted(found)], classes


def _is_text(name: str) -> bool:
    """Return whether a name read off the disk can be written down elsewhere."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _files(home: Path, place: Path, trail: frozenset[str], problems: list[Problem]) -> Iterator[Path]:
    """Yield the image files below ``place``.

    ``trail`` holds where the folders above really are: a link back to one of them would be followed for ever.
    """
    try:
        entries = sorted(place.iterdir())
    except OSError as error:
        problems.append(Problem(place.relative_to(home).as_posix(), f"it cannot be read ({error.strerror})"))
        return
    for path in entries:
        if path.name.startswith(".") or path.name == "__MACOSX":
            continue
        if path.is_dir():
            real = real_folder(path)
            if real in trail or not real.startswith(real_folder(home)):
                key = path.relative_to(home).as_posix()
                problems.append(Problem(key, "it is a link to a folder above it, or outside the data set's folder"))
            else:
                yield from _files(home, path, trail | {real}, problems)
        elif path.suffix.lower() in SUFFIXES:
            yield path
