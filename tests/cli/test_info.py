"""The costs of systems by the command line."""

import json

from PIL import Image

from pmsi.config import TrainConfig
from pmsi.engine.costs import costs_of


def test_costs_as_json_are_those_of_the_package_for_each_combination(pmsi):
    words = ["--method", "pmr", "baseline", "--backbone", "tiny", "resnet18", "--image-size", 32, "--channels", 16]
    status, out, _ = pmsi("info", *words, "--smooth-conv", "separable", "--stage-num", 2, "--classes", 7, "--json")
    about = json.loads(out)
    assert status == 0
    assert (about["classes"], about["stage_num"], about["refused"]) == (7, 2, {})
    assert [(row["backbone"], row["method"], row["smooth_conv"]) for row in about["systems"]] == [
        ("tiny", "pmr", "separable"), ("tiny", "baseline", None),
        ("resnet18", "pmr", "separable"), ("resnet18", "baseline", None),
    ]  # fmt: skip
    config = TrainConfig(backbone="tiny", image_size=32, smooth_conv="separable", stage_num=2, channels=16)
    costs = costs_of(config, 7)
    assert about["systems"][0]["macs_train"] == costs.macs_train
    assert about["systems"][0]["weight_bytes"] == costs.weight_bytes


def test_classes_are_those_of_a_data_set(pmsi, tmp_path):
    for name in "abc":
        for split in ("train", "test"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (40, 40), (ord(name), len(split), 0)).save(tmp_path / split / name / "0.png")
    words = ["info", "--method", "baseline", "--backbone", "tiny", "--image-size", 64, "--json"]
    counts = {("plumage",): 12, ("cub",): 200, ("folder", "--data", tmp_path): 3}
    assert {each: json.loads(pmsi(*words, "--dataset", *each)[1])["classes"] for each in counts} == counts
    assert pmsi(*words, "--dataset", "plumage", "--classes", 3)[0] == 2


def test_what_stages_see_is_told_beside_the_patches_of_the_phases(pmsi):
    lines = pmsi("info", "--method", "baseline", "--backbone", "resnet18", "--image-size", 448, 896)[1].splitlines()
    # By hand: 7; pooled 7 + 2·2 = 11, and four 3 × 3 at stride 4: 11 + 4·8 = 43; then 43 + 8 + 3·16 = 99, and so on.
    assert any("S1 7, S2 43, S3 99, S4 211, S5 435" in line for line in lines)
    small, large = (line for line in lines if "patches" in line)
    assert all(words in small for words in ("448 px", "S3 56, S4 112, S5 224"))
    assert all(words in large for words in ("896 px", "S3 112, S4 224, S5 448", "784 px"))
