"""The readers of published data sets: each layout, each missing piece, and images that cannot be used."""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from photos import photo
from PIL import Image

from pmsi.base.errors import DataError
from pmsi.config import TrainConfig
from pmsi.data import DATASETS, kind_of, official_of, open_dataset
from pmsi.data.dataset import count_by_class
from pmsi.data.preprocessing import centre_crop, resize
from pmsi.data.readers.aircraft import aircraft
from pmsi.data.readers.cars import cars
from pmsi.data.readers.cub import cub
from pmsi.data.readers.dogs import dogs
from pmsi.data.readers.flowers import flowers
from pmsi.data.readers.folder import folder
from pmsi.data.readers.funnybirds import funnybirds
from pmsi.data.readers.pets import pets
from pmsi.data.record import DataRecord
from pmsi.explain.measures.regions import known_regions


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def keys(dataset, split):
    return [sample.key for sample in dataset.split(split)]


# --- CUB -----------------------------------------------------------------------------------------------------------

BIRDS = {7: "007.Parakeet_Auklet", 31: "031.Black_billed_Cuckoo", 150: "150.Sage_Thrasher"}


def make_cub(lists, images=None):
    """Three classes with numbers that are not contiguous, four images each, of which every second is for training."""
    images = images or lists / "images"
    rows = [(label, f"{name}/{name[4:]}_{i}.jpg", i % 2) for label, name in BIRDS.items() for i in range(4)]
    for _, key, _ in rows:
        photo(images / key)
    ids = range(101, 101 + len(rows))
    write(lists / "images.txt", *(f"{i} {row[1]}" for i, row in zip(ids, rows, strict=True)))
    write(lists / "image_class_labels.txt", *(f"{i} {row[0]}" for i, row in zip(ids, rows, strict=True)))
    write(lists / "train_test_split.txt", *(f"{i} {row[2]}" for i, row in zip(ids, rows, strict=True)))
    write(lists / "classes.txt", *(f"{label} {name}" for label, name in BIRDS.items()), "200 200.Never_Seen")
    write(lists / "bounding_boxes.txt", *(f"{i} 1.0 2.5 8.0 6.0" for i in ids))
    return lists


def test_cub_is_read_with_its_split_its_boxes_and_readable_names(tmp_path):
    dataset = cub(make_cub(tmp_path / "CUB_200_2011"))
    assert dataset.classes == ("Parakeet Auklet", "Black billed Cuckoo", "Sage Thrasher")
    assert count_by_class(dataset.train, dataset.classes) == dict.fromkeys(dataset.classes, 2)
    assert keys(dataset, "train")[0] == "007.Parakeet_Auklet/Parakeet_Auklet_1.jpg"
    assert keys(dataset, "test")[0] == "007.Parakeet_Auklet/Parakeet_Auklet_0.jpg"
    assert {sample.box for sample in (*dataset.train, *dataset.test)} == {(1.0, 2.5, 8.0, 6.0)}
    assert dataset.problems == ()
    image = dataset.open_image(dataset.test[-1])
    assert (image.mode, image.size) == ("RGB", (12, 10))
    assert dataset.open_parts(dataset.test[0]) == {}


def test_cub_is_found_in_the_folder_above_and_with_its_lists_beside_it(tmp_path):
    inside = cub(make_cub(tmp_path / "a" / "CUB_200_2011" / "CUB_200_2011"))
    from_above, from_above_that = cub(tmp_path / "a" / "CUB_200_2011"), cub(tmp_path / "a")
    make_cub(tmp_path / "b", tmp_path / "b" / "CUB_200_2011" / "images")
    beside = cub(tmp_path / "b")
    beside_but_given_inside = cub(tmp_path / "b" / "CUB_200_2011")
    expected = [(sample.key, sample.label, sample.box) for sample in inside.train]
    for other in (from_above, from_above_that, beside, beside_but_given_inside):
        assert [(sample.key, sample.label, sample.box) for sample in other.train] == expected


def test_cub_classes_of_one_name_stay_distinct_and_paths_that_leave_the_data_set_are_problems(tmp_path):
    root = make_cub(tmp_path / "set")
    photo(tmp_path / "secret.jpg")
    rows = (root / "images.txt").read_text().splitlines()
    rows[0], rows[1] = "101 ../../secret.jpg", f"102 {tmp_path}/secret.jpg"
    write(root / "images.txt", *rows)
    write(root / "classes.txt", "7 007.Gull", "31 031.Gull", "150 150.Sage_Thrasher")
    dataset = cub(root)
    assert [problem.reason for problem in dataset.problems] == 2 * ["its path leads out of the data set's folder"]
    assert dataset.classes == ("Gull (7)", "Gull (31)", "Sage Thrasher")


def test_cub_needs_its_lists_and_images_but_no_boxes(tmp_path):
    for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt"):
        root = make_cub(tmp_path / f"without {name}")
        (root / name).unlink()
        with pytest.raises(DataError, match=rf"lacks {name}\. .*data\.caltech\.edu"):
            cub(root)
        (root / name).write_bytes(b"\xff\xfe\0\0")
        with pytest.raises(DataError, match=rf"{name} cannot be read"):
            cub(root)
    root = make_cub(tmp_path / "whole")
    (root / "bounding_boxes.txt").unlink()
    assert cub(root).train[0].box is None
    (root / "images").rename(root / "pictures")
    with pytest.raises(DataError, match="lacks images"):
        cub(root)


@pytest.mark.parametrize(
    ("name", "line", "reason"),
    [
        ("images.txt", "101", "line 1: '101' has fewer than 2 words"),
        ("image_class_labels.txt", "101 8", "image 101 has '8'. Expected a class that classes.txt lists"),
        ("train_test_split.txt", "101 yes", "image 101 has 'yes'. Expected 1"),
        ("train_test_split.txt", "900 1", "lacks 1 of the images in images.txt, image 101 first"),
        ("classes.txt", "seven 007.Parakeet_Auklet", "Expected a whole number"),
        ("bounding_boxes.txt", "101 1 2 3 wide", "the box of image 101 is '1 2 3 wide'"),
    ],
)
def test_cub_names_the_damaged_line(tmp_path, name, line, reason):
    path = make_cub(tmp_path) / name
    write(path, line, *path.read_text().splitlines()[1:])
    with pytest.raises(DataError) as caught:
        cub(tmp_path)
    assert name in str(caught.value)
    assert reason in str(caught.value)


def test_bad_images_are_named_and_left_out_and_so_are_those_of_a_class_without_training_images(tmp_path):
    root = make_cub(tmp_path)
    parakeet, cuckoo = (root / "images" / BIRDS[label] / BIRDS[label][4:] for label in (7, 31))
    parakeet.with_name(f"{parakeet.name}_1.jpg").write_text("not an image")
    parakeet.with_name(f"{parakeet.name}_3.jpg").unlink()
    cuckoo.with_name(f"{cuckoo.name}_0.jpg").write_bytes(b"")
    whole = cuckoo.with_name(f"{cuckoo.name}_2.jpg")
    whole.write_bytes(whole.read_bytes()[:-30])
    dataset = cub(root)
    reasons = {f"{problem.key[:3]}{problem.key[-5]}": problem.reason for problem in dataset.problems}
    words = {"0071": "not an image", "0073": "does not exist", "0310": "is empty", "0312": "truncated"}
    words |= dict.fromkeys(("0070", "0072"), "no training image")
    assert reasons.keys() == words.keys()
    assert all(words[key] in reason for key, reason in reasons.items())
    assert dataset.classes == ("Black billed Cuckoo", "Sage Thrasher")
    assert [sample.label for sample in dataset.train] == [0, 0, 1, 1]


QUIRKS = {
    "backslashes": ("images.txt", lambda line: line.replace("/", "\\")),
    "a prefix": ("images.txt", lambda line: line.replace(" ", " images/")),
    "commas": ("images.txt", lambda line: line.replace(" ", ",")),
    "numbers with a point": ("image_class_labels.txt", lambda line: " ".join(f"{word}.0" for word in line.split())),
    "split with a point": ("train_test_split.txt", lambda line: f"{line}.0"),
    "boxes with commas": ("bounding_boxes.txt", lambda line: line.replace(" ", ", ")),
}


@pytest.mark.parametrize(("quirk", "header"), [*zip(QUIRKS, ["", "image_id value a b c"] * 3, strict=True)])
def test_cub_lists_that_other_tools_have_written_read_alike(tmp_path, quirk, header):
    root = make_cub(tmp_path)
    plain = cub(root)
    name, change = QUIRKS[quirk]
    lines = (root / name).read_text().splitlines()
    write(root / name, *([header] if header else []), *map(change, lines))
    odd = cub(root)
    assert (odd.classes, odd.train, odd.test) == (plain.classes, plain.train, plain.test)


@pytest.mark.parametrize("turned", [1, 6])
def test_visible_parts_of_cub_are_regions_where_their_pixels_are_seen(tmp_path, turned):
    """A photo is black but for a white dot at each part; the network's view is white inside the parts' regions."""
    root = make_cub(tmp_path)
    key = f"{BIRDS[7]}/Parakeet_Auklet_0.jpg"
    pixels = np.zeros((90, 160), np.uint8)
    dots = {1: (30, 40), 2: (120, 60), 3: (5, 5)}
    for x, y in dots.values():
        pixels[y - 4 : y + 4, x - 4 : x + 4] = 255
    exif = Image.Exif()
    exif[274] = turned
    Image.fromarray(pixels).save(root / "images" / key, exif=exif, quality=95)
    write(root / "parts" / "parts.txt", "1 beak", "2 left eye", "3 tail")
    write(
        root / "parts" / "part_locs.txt", *(f"101 {n}.0,{x},{y},{n < 3:d}" for n, (x, y) in dots.items()), "102 1 5 5 1"
    )
    write(root / "bounding_boxes.txt", "101 20 30 110 40", *(f"{i} 1 2 8 6" for i in range(102, 113)))
    dataset = cub(root)
    sample, config = dataset.find(key), TrainConfig(resize=64, image_size=56)
    found = known_regions(dataset, sample, config)
    assert list(found) == ["object", "parts", "beak", "left eye"]
    assert dataset.part_names == ("beak", "left eye", "tail")
    seen = centre_crop(resize(dataset.open_image(sample), 64), 56)[..., 0] > 128
    assert seen[found["parts"]].sum() == seen.sum() > 0
    assert [bool(seen[found[name]].any()) for name in ("beak", "left eye")] == [True, True]
    assert not (found["beak"] & found["left eye"]).any()
    assert seen[found["object"]].all() or seen.sum() == seen[found["object"]].sum()
    assert dataset.open_parts(dataset.find(key.replace("_0", "_2"))) == {}
    write(root / "parts" / "part_locs.txt", "101 9 1 1 1")
    with pytest.raises(DataError, match=r"part_locs\.txt: image 101 has part 9"):
        cub(root).open_parts(sample)


def test_nabirds_is_named_as_what_it_is(tmp_path):
    root = make_cub(tmp_path / "nabirds")
    names = {7: "Ducks, Geese, and Swans", 31: "Wood Duck (Female/Eclipse male)", 150: "Brant"}
    write(root / "classes.txt", "0 Birds", *(f"{label} {name}" for label, name in names.items()))
    write(root / "hierarchy.txt", "7 0", "31 7", "150 7")
    for row, place in (("cub", root), ("nabirds", tmp_path)):
        dataset = DATASETS[row].open(TrainConfig(dataset=row, data=str(place)), None)
        assert (dataset.name, dataset.classes) == ("nabirds", tuple(names.values()))
        assert official_of(DATASETS[row], dataset) == DATASETS["nabirds"].official


# --- Stanford Cars -------------------------------------------------------------------------------------------------

MODELS = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"]
BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


def entries(rows):
    """A MATLAB structure array, with numbers as small as MATLAB stores them."""
    made = np.zeros((1, len(rows)), dtype=[(field, "O") for field in rows[0]])
    for i, row in enumerate(rows):
        made[0, i] = tuple(value if isinstance(value, str) else np.uint8(value) for value in row.values())
    return made


def make_cars(root, test_annotations="cars_test_annos_withlabels.mat", kit="devkit", per_class=2):
    (root / kit).mkdir(parents=True)
    scipy.io.savemat(root / kit / "cars_meta.mat", {"class_names": np.array(MODELS, dtype=object)})
    for split, file in (("cars_train", f"{kit}/cars_train_annos.mat"), ("cars_test", test_annotations)):
        names = [f"{i + 1:05}.jpg" for i in range(len(MODELS) * per_class)]
        box = dict(zip(BOX, (1, 2, 10, 8), strict=True))
        rows = [box | {"class": i // per_class + 1, "fname": name} for i, name in enumerate(names)]
        for name in names:
            photo(root / split / name)
        scipy.io.savemat(root / file, {"annotations": entries(rows)})
    return root


def make_cars_together(root):
    """The later layout: of each model the first image is for training, the second for testing."""
    box = dict(zip(BOX, (1, 2, 10, 8), strict=True))
    names = [f"car_ims/{i + 1:06}.jpg" for i in range(2 * len(MODELS))]
    rows = [{"relative_im_path": name} | box | {"class": i // 2 + 1, "test": i % 2} for i, name in enumerate(names)]
    for name in names:
        photo(root / name)
    lists = {"annotations": entries(rows), "class_names": np.array(MODELS, dtype=object)}
    scipy.io.savemat(root / "cars_annos.mat", lists, do_compression=True)
    return root


@pytest.mark.parametrize(
    ("test_list", "kit"),
    [
        ("cars_test_annos_withlabels.mat", "devkit"),
        ("devkit/cars_test_annos_withlabels.mat", "devkit"),
        ("cars_test_annos_withlabels.mat", "car_devkit/devkit"),
    ],
)
def test_cars_are_read_with_their_split_and_boxes(tmp_path, test_list, kit):
    make_cars(tmp_path / "stanford_cars", test_list, kit)
    for given in (tmp_path, tmp_path / "stanford_cars"):
        dataset = cars(given)
        assert dataset.classes == tuple(MODELS)
        assert [sample.label for sample in dataset.train] == [0, 0, 1, 1, 2, 2]
        assert keys(dataset, "test")[:2] == ["cars_test/00001.jpg", "cars_test/00002.jpg"]
        assert dataset.train[0].box == (0.0, 1.0, 10.0, 7.0)
        assert dataset.open_image(dataset.test[0]).size == (12, 10)
        assert dataset.problems == ()


def test_cars_are_read_where_all_images_lie_together(tmp_path):
    root = make_cars_together(tmp_path / "stanford_cars")
    for given in (tmp_path, root):
        dataset = cars(given)
        assert dataset.classes == tuple(MODELS)
        assert keys(dataset, "train") == [f"car_ims/00000{i}.jpg" for i in (1, 3, 5)]
        assert [sample.label for sample in dataset.test] == [0, 1, 2]
        assert dataset.test[0].box == (0.0, 1.0, 10.0, 7.0)
    (root / "cars_annos.mat").unlink()
    with pytest.raises(DataError, match=r"lacks cars_annos\.mat\. "):
        cars(root)


@pytest.mark.parametrize("make", [make_cars, make_cars_together])
def test_cars_unpacked_into_a_folder_of_the_same_name_keep_their_keys(tmp_path, make):
    before = cars(make(tmp_path / "a"))
    root = make(tmp_path / "b")
    for place in root.glob("car*_*"):
        if place.is_dir():
            place.rename(root / "inner")
            place.mkdir()
            (root / "inner").rename(place / place.name)
    after = cars(root)
    for split in ("train", "test"):
        assert keys(after, split) == keys(before, split) != []
    assert after.problems == ()


def test_cars_name_what_is_missing(tmp_path):
    lists = ("devkit/cars_meta.mat", "devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat")
    for number, name in enumerate((*lists, "cars_train", "cars_test")):
        path = make_cars(tmp_path / str(number)) / name
        path.rename(path.with_name("elsewhere"))
        with pytest.raises(DataError, match=rf"lacks {path.name}\. .*issues/7545.*'folder'"):
            cars(tmp_path / str(number))


@pytest.mark.parametrize("inner", ["", "car_data/car_data"])
def test_cars_sorted_into_class_folders_are_for_the_other_reader(tmp_path, inner):
    for split in ("train", "test"):
        for name in ("Acura RL Sedan 2012", "Audi TT RS Coupe 2012"):
            photo(tmp_path / inner / split / name / "1.jpg")
    with pytest.raises(DataError, match="Choose the data set 'folder' and give") as caught:
        cars(tmp_path)
    advised = str(caught.value).split("and give ")[1].split(". The original")[0]
    assert folder(advised).classes == ("Acura RL Sedan 2012", "Audi TT RS Coupe 2012")


def test_cars_list_that_is_damaged_or_without_labels_is_named(tmp_path):
    root = make_cars(tmp_path)
    file = root / "cars_test_annos_withlabels.mat"
    scipy.io.savemat(file, {"annotations": {"fname": "00001.jpg"}})
    with pytest.raises(DataError, match=r"withlabels\.mat: an entry has no 'class', only fname"):
        cars(root)
    scipy.io.savemat(file, {"annotations": entries([{"fname": "00001.jpg", "class": 9} | dict.fromkeys(BOX, 1)])})
    with pytest.raises(DataError, match=r"withlabels\.mat: cars_test/00001\.jpg has class 9\. Expected 1 to 3"):
        cars(root)
    scipy.io.savemat(file, {"annotations": entries([{"fname": "00001.jpg", "class": "one"} | dict.fromkeys(BOX, 1)])})
    with pytest.raises(DataError, match=r"class is 'one'\. Expected a number"):
        cars(root)
    scipy.io.savemat(file, {"images": 1.0})
    with pytest.raises(DataError, match="has no list 'annotations'"):
        cars(root)
    whole = (root / "devkit" / "cars_train_annos.mat").read_bytes()
    for damaged in (b"<html>", b"\x89HDF\r\n\x1a\n".ljust(512), whole[:200], whole[:-40]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"withlabels\.mat (cannot be read as a MATLAB file|has no list)"):
            cars(root)


# --- FGVC-Aircraft -------------------------------------------------------------------------------------------------


def make_aircraft(root):
    data = root / "data"
    for number in range(1025794, 1025800):
        photo(data / "images" / f"{number}.jpg")
    write(data / "variants.txt", "BAE 146-300", "BAE 146-200", "F-16A/B")  # two that begin with the same word
    write(data / "images_variant_trainval.txt", "1025794 BAE 146-200", "1025795 BAE 146-300", "1025796 F-16A/B")
    write(data / "images_variant_test.txt", "1025797 F-16A/B", "1025798 BAE 146-200", "1025799 BAE 146-300")
    write(data / "images_box.txt", *(f"{number} 1 3 12 10" for number in range(1025794, 1025800)))
    return root


def test_aircraft_is_read_with_its_split_and_boxes(tmp_path):
    root = make_aircraft(tmp_path / "fgvc-aircraft-2013b" / "fgvc-aircraft-2013b")
    for given in (tmp_path, root.parent, root, root / "data"):
        dataset = aircraft(given)
        assert dataset.classes == ("BAE 146-300", "BAE 146-200", "F-16A/B")
        assert keys(dataset, "train") == ["1025794.jpg", "1025795.jpg", "1025796.jpg"]
        assert [sample.label for sample in dataset.test] == [2, 1, 0]
        assert dataset.test[0].box == (0.0, 2.0, 12.0, 8.0)
        assert dataset.open_image(dataset.train[0]).size == (12, 10)  # the banner is left in place


def test_aircraft_names_what_is_missing_or_unknown(tmp_path):
    for name in ("variants.txt", "images_variant_trainval.txt", "images_variant_test.txt", "images"):
        root = make_aircraft(tmp_path / f"without {name}")
        (root / "data" / name).rename(root / "elsewhere")
        with pytest.raises(DataError, match=rf"lacks {name}\. .*fgvc-aircraft-2013b\.tar\.gz"):
            aircraft(root)
    write(make_aircraft(tmp_path / "other") / "data" / "images_variant_test.txt", "1025797 Zeppelin NT")
    with pytest.raises(DataError, match=r"images_variant_test\.txt: image 1025797 has variant 'Zeppelin NT'"):
        aircraft(tmp_path / "other")


# --- Flowers, Pets, Dogs -------------------------------------------------------------------------------------------

FLOWERS = {"trnid": [9, 4, 2], "valid": [1], "tstid": [3, 5, 6, 7, 8]}
"""Of nine images of three classes, 77, 1 and 102 in turn."""


def make_flowers(root):
    for number in range(1, 10):
        photo(root / "jpg" / f"image_{number:05}.jpg")
    labels = [(102, 77, 1)[number % 3] for number in range(1, 10)]
    scipy.io.savemat(root / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
    scipy.io.savemat(root / "setid.mat", {name: np.array([ids], np.uint16) for name, ids in FLOWERS.items()})
    return root


PETS = {
    "trainval": ["Abyssinian_2", "american_bulldog_1", "shiba_inu_7"],
    "test": ["american_bulldog_9", "Abyssinian_1"],
}


def make_pets(root):
    for split, names in PETS.items():
        for name in names:
            photo(root / "images" / f"{name}.jpg")
        order = ["Abyssinian", "american_bulldog", "shiba_inu"]
        write(root / "annotations" / f"{split}.txt", *(f"{n} {order.index(n[: n.rindex('_')]) + 1} 2 1" for n in names))
        (root / "images" / "Abyssinian_5.mat").write_bytes(b"MATLAB")
    photo(root / "annotations" / "trimaps" / "Abyssinian_1.png")
    write(root / "annotations" / "list.txt", "#Image CLASS-ID SPECIES BREED ID", "Abyssinian_1 1 1 1")
    return root


DOGS = {"train": ["n02085620-Chihuahua/n02085620_1.jpg", "n02085782-Japanese_spaniel/n02085782_2.jpg"]}
DOGS["test"] = ["n02085782-Japanese_spaniel/n02085782_50.jpg", "n02085620-Chihuahua/n02085620_7.jpg"]


def make_dogs(root):
    for split, files in DOGS.items():
        for file in files:
            photo(root / "Images" / file)
        column = np.array(files, dtype=object)[:, None]
        labels = np.array([[1.0 if "Chihuahua" in file else 2.0] for file in files])
        scipy.io.savemat(root / f"{split}_list.mat", {"file_list": column, "annotation_list": column, "labels": labels})
    return root


def make_funnybirds(root):
    """Two classes made up after the layout of the authors' reader: two parts, an object in the background."""
    scenes = {"train": [0, 1, 1], "test": [1, 0]}
    write(root / "classes.json", json.dumps([{"class_idx": n, "parts": {"beak": n, "tail": 0}} for n in (0, 1)]))
    write(root / "parts.json", json.dumps({"tail": [{}], "beak": [{}, {}]}))
    for split, labels in scenes.items():
        write(root / f"dataset_{split}.json", json.dumps([{"class_idx": label} for label in labels]))
        for number, label in enumerate(labels):
            photo(root / split / str(label) / f"{number:06}.png")
    for number, label in enumerate(scenes["test"]):
        colours = np.zeros((8, 8, 4), np.uint8)
        colours[2:4, 1:3], colours[5, 5], colours[..., 3] = (255, 255, 0, 255), (0, 0, 255, 255), 255
        map_png = root / "test_part_map" / str(label) / f"{number:06}.png"
        map_png.parent.mkdir(parents=True)
        Image.fromarray(colours).save(map_png)
        for shade, left in enumerate(("body_", "body_beak", "body_tail", "background_interventions/0")):
            path = root / "test_interventions" / str(label) / f"{number:06}" / f"{left}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (40 * shade, 9, 9)).save(path)
    return root


def test_funnybirds_have_masks_and_can_be_had_without_parts(tmp_path):
    root = make_funnybirds(tmp_path / "FunnyBirds")
    dataset = open_dataset(TrainConfig(dataset=kind_of(root), data=str(root)))
    assert (dataset.name, dataset.classes, dict(dataset.passed_over)) == (
        "funnybirds",
        ("FunnyBird 00", "FunnyBird 01"),
        {},
    )
    assert keys(dataset, "test") == ["test/1/000000.png", "test/0/000001.png"]
    assert [sample.label for sample in dataset.test] == [1, 0]
    sample, change = dataset.test[0], dataset.interventions
    masks = dataset.open_parts(sample)
    assert {part: mask.sum() for part, mask in masks.items()} == {"beak": 4, "tail": 1}
    assert (masks["beak"][2:4, 1:3].all(), change.removable) == (True, ("beak", "tail"))
    assert not dataset.open_parts(dataset.train[0])
    shades = [change.without(sample, parts).getpixel((0, 0))[0] for parts in (("beak", "tail"), ("tail",), ("beak",))]
    assert shades == [0, 40, 80]
    assert change.without(sample, ()).tobytes() == dataset.open_image(sample).tobytes()
    assert [each.getpixel((0, 0))[0] for each in change.surroundings(sample).values()] == [120]
    with pytest.raises(DataError, match="body_beak"):
        change.without(dataset.train[0], ("tail",))
    write(root / "dataset_test.json", json.dumps([{"class_idx": 7}]))
    with pytest.raises(DataError, match="class 7"):
        funnybirds(root)


PUBLISHED = {
    "flowers": (make_flowers, ("Pink primrose", "Passion flower", "Blackberry lily"), [1, 2, 4, 9], [3, 5, 6, 7, 8]),
    "pets": (make_pets, ("Abyssinian", "American Bulldog", "Shiba Inu"), PETS["trainval"], PETS["test"]),
    "dogs": (make_dogs, ("Chihuahua", "Japanese spaniel"), DOGS["train"], DOGS["test"]),
    "cub": (make_cub, ("Parakeet Auklet", "Black billed Cuckoo", "Sage Thrasher"), None, None),
    "cars": (make_cars, tuple(MODELS), None, None),
    "aircraft": (make_aircraft, ("BAE 146-300", "BAE 146-200", "F-16A/B"), None, None),
}


def as_downloaded(root, home):
    """Pack each folder of a data set into an archive of its own, and leave its other files as they are."""
    home.mkdir()
    for inner in root.iterdir():
        if inner.is_dir():
            shutil.make_archive(str(home / inner.name), "tar", root, inner.name)
        else:
            shutil.copy(inner, home)
    if lists := list(home.glob("*_list.mat")):  # Stanford Dogs packs its lists too
        with tarfile.open(home / "lists.tar", "w") as tar:
            for file in lists:
                tar.add(file, file.name)
                file.unlink()
    return home


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sets_keep_their_split_in_folders_zips_and_tars_and_below_wrappers(tmp_path, name):
    make, classes, *sides = PUBLISHED[name]
    root = tmp_path / "data" / "my copy" / "files"
    make(root)
    archives = [Path(shutil.make_archive(str(tmp_path / "a"), form, tmp_path / "data")) for form in ("zip", "gztar")]
    packed = as_downloaded(root, tmp_path / "packed")
    digests = set()
    for place in (root, tmp_path / "data", *archives, packed):
        assert kind_of(place) == name
        dataset = open_dataset(TrainConfig(dataset=name, data=str(place)))
        assert (dataset.name, dataset.classes, dataset.problems) == (name, classes, ())
        digests.add(DataRecord.of(dataset).digest)
        if sides[0]:
            stems = [[Path(key).stem.removeprefix("image_") for key in keys(dataset, s)] for s in ("train", "test")]
            assert stems == [[Path(f"{i:05}" if name == "flowers" else i).stem for i in side] for side in sides]
    assert len(digests) == 1


@pytest.mark.parametrize("name", PUBLISHED)
def test_files_that_no_list_of_a_published_set_has_are_counted(tmp_path, name):
    PUBLISHED[name][0](tmp_path)
    before = open_dataset(TrainConfig(dataset=name, data=str(tmp_path))).passed_over
    assert before == (
        {"not in the list (.png)": 1, "not an image (.mat)": 1, "not an image (.txt)": 1} if name == "pets" else {}
    )
    for extra in ("more/extra.png", "more/notes.md", ".DS_Store", "more/Thumbs.db"):
        write(tmp_path / extra, "x")
    after = open_dataset(TrainConfig(dataset=name, data=str(tmp_path))).passed_over
    assert sum(after.values()) == sum(before.values()) + 4
    assert after["not in the list (.png)"] == before.get("not in the list (.png)", 0) + 1


def test_flowers_validate_on_their_own_split_and_say_which_is_which(tmp_path):
    dataset = flowers(make_flowers(tmp_path), test_on="val")
    assert keys(dataset, "train") == [f"image_0000{i}.jpg" for i in (2, 4, 9)]
    assert keys(dataset, "test") == ["image_00001.jpg"]
    assert "trnid for training, valid for testing" in dataset.layout


def test_damaged_lists_of_flowers_pets_and_dogs_are_named(tmp_path):
    sets = make_flowers(tmp_path / "f") / "setid.mat"
    scipy.io.savemat(sets, {name: np.array([ids]) + 2 for name, ids in FLOWERS.items()})
    with pytest.raises(DataError, match=r"setid\.mat: trnid has 11\. Expected whole numbers from 1 to 9"):
        flowers(tmp_path / "f")
    listed = make_pets(tmp_path / "p") / "annotations" / "test.txt"
    for line, reason in (("Abyssinian_1 2 1 1", "has class 2"), ("Abyssinian_1 x 1 1", "has class 'x'")):
        write(listed, line)
        with pytest.raises(DataError, match=rf"test\.txt: Abyssinian_1 {reason}"):
            pets(tmp_path / "p")
    listed = make_dogs(tmp_path / "d") / "train_list.mat"
    scipy.io.savemat(listed, {"file_list": np.array(DOGS["train"], dtype=object), "labels": np.array([1.0])})
    with pytest.raises(DataError, match=r"train_list\.mat has 2 files and 1 labels"):
        dogs(tmp_path / "d")
