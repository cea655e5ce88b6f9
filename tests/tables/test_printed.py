"""The paper's printed numbers: tables agree with each other, and differences with accuracies, but for two."""

import math

import pytest

from pmsi.augment import AUGMENTATIONS
from pmsi.base.errors import UnknownName
from pmsi.data import DATASETS
from pmsi.methods import METHODS
from pmsi.model import BACKBONES
from pmsi.perturbations import PERTURBATIONS
from pmsi.tables.printed import paper_table, paper_tables

NUMBERS = ("1", "2", "3", "4", "5", "6", "7", "fig1")


def value(number, line, column):
    return paper_table(number).cells[line, column].value


def test_every_table_is_there_under_its_name():
    titles = {number: table.title for number, table in paper_tables().items()}
    roman = dict(zip("1234567", ("I", "II", "III", "IV", "V", "VI", "VII"), strict=True))
    assert titles == {number: f"Table {name}" for number, name in roman.items()} | {"fig1": "Fig. 1"}
    with pytest.raises(UnknownName, match=r"'8'.*fig1"):
        paper_table("8")


def test_exactly_two_printed_differences_disagree_with_the_printed_accuracies():
    wrong, checked = {}, 0
    for number in ("6", "7"):
        table = paper_table(number)
        for (line, column), printed in table.cells.items():
            if line in table.against:
                computed = round(printed.value - table.cells[table.against[line], column].value, 1)
                checked += 1
                if computed != printed.difference:
                    wrong[number, line, column] = (printed.difference, computed)
                assert math.isclose(printed.change, computed)
            else:
                assert printed.difference is None
    assert checked == 9 + 12
    assert wrong == {
        ("7", "color_jitter", "cub/baseline"): (-77.4, -67.4),
        ("7", "gaussian_noise", "cub/pmr"): (-18.4, -8.4),
    }


def test_misprints_and_nothing_else_carry_a_note_with_both_numbers():
    noted = [printed for table in paper_tables().values() for printed in table.cells.values() if printed.note]
    assert len(noted) == 2
    for printed in noted:
        assert printed.computed is not None
        for number in (printed.value, printed.difference, printed.computed):
            assert f"{abs(number):.1f}" in printed.note


@pytest.mark.parametrize(
    ("head", "places"),
    [
        ("concat", [("2", "3"), ("3", "pm"), ("4", "none")]),
        ("mix", [("2", "3"), ("3", "pm"), ("4", "none")]),
        ("concat", [("3", "pmr"), ("4", "rmg"), ("5", "pmr")]),
        ("mix", [("3", "pmr"), ("4", "rmg"), ("5", "pmr")]),
    ],
)
def test_one_system_has_one_number_in_all_tables(head, places):
    assert len({value(number, line, head) for number, line in places}) == 1


def test_tables_vi_and_vii_start_from_table_iii():
    assert value("3", "baseline", "concat") == value("6", "mobilenet_v2/baseline", "cub")
    assert value("3", "pmr", "mix") == value("6", "mobilenet_v2/pmr", "cub")
    for name in ("cub", "cars", "aircraft"):
        for method in ("baseline", "pmr"):
            assert value("6", f"mobilenet_v2/{method}", name) == value("7", "clean", f"{name}/{method}")


def test_keys_are_rows_of_the_package_s_tables():
    lines = {number: {line for line, _ in paper_table(number).cells} for number in NUMBERS}
    columns = {number: {column for _, column in paper_table(number).cells} for number in NUMBERS}
    assert lines["1"] | columns["6"] == {"cub", "cars", "aircraft"} <= DATASETS.keys()
    assert lines["2"] == set("12345")
    assert lines["3"] | lines["5"] <= METHODS.keys()
    assert lines["4"] <= AUGMENTATIONS.keys()
    assert {line.partition("/")[0] for line in lines["6"]} <= BACKBONES.keys()
    assert lines["7"] - {"clean"} <= PERTURBATIONS.keys()
