"""Flags, their help, and the commands that the documentation shows."""

import argparse
import io
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from pmsi.choices import options_of
from pmsi.cli.flags import to_config
from pmsi.cli.main import COMMANDS, main, make_parser
from pmsi.config import CONFIGS, EvaluateConfig, RobustnessConfig, TrainConfig
from pmsi.config.command import command, flag
from pmsi.config.presets import PRESETS

ROOT = Path(__file__).parents[2]


def parser_of(name):
    """The parser of one subcommand."""
    actions = make_parser(name)._actions
    (subcommands,) = (action for action in actions if isinstance(action, argparse._SubParsersAction))
    return subcommands.choices[name]


@pytest.mark.parametrize("task", CONFIGS)
def test_a_task_has_one_flag_for_each_field_and_its_help_names_the_default(task):
    actions = [action for action in parser_of(task)._actions if action.option_strings]
    flags = {action.dest: action for action in actions if action.help is not argparse.SUPPRESS}
    ahead = {
        "evaluate": {"dataset", "data"},  # of an exported file
        "train": {"preset", "dry_run", "first_batch", "json"},
        "robustness": {"dry_run", "json"},
        "maps": {"dry_run", "json"},
    }
    own = {"help", "runs", "queue", "launcher"} | ahead.get(task, set())
    known = {about.name: about for about in fields(CONFIGS[task]) if about.name != "of"}
    assert flags.keys() - own == known.keys()
    for name, about in known.items():
        action, default = flags[name], about.default
        assert flag(name) in action.option_strings
        assert action.default is argparse.SUPPRESS  # the config's default is the only one
        assert about.metadata["help"] in action.help.replace("%%", "%")
        words = " ".join(default) if isinstance(default, tuple) else str(default)
        words = {"None": "none", "True": "yes", "False": "no"}.get(words, words)
        assert f" [{words}" in action.help or (default is None and "by default" in action.help)
        for word in options_of(about) or ():
            assert word in action.help


@pytest.mark.parametrize("task", CONFIGS)
def test_what_is_not_typed_is_the_config_s_default(task):
    of = ["RUN"] if task != "train" else []
    typed = make_parser(task).parse_args([task, *of])
    several = of and isinstance(CONFIGS[task]().of, tuple)
    expected = CONFIGS[task](of=("RUN",) if several else "RUN") if of else CONFIGS[task]()
    assert to_config(CONFIGS[task](), typed) == expected


@pytest.mark.parametrize(
    "config",
    [
        *(preset.config for preset in PRESETS.values()),
        TrainConfig(flip=False, nested=True, weights="/a b/w.pt", dataset="folder", data="/a b/c", dropout=0.25),
        EvaluateConfig(of="some-run", split="train"),
        RobustnessConfig(of=("a", "b"), perturbations=("gaussian_noise",), severities=(0.5, 3.0)),
    ],
    ids=lambda config: config.task,
)
def test_the_command_that_is_shown_makes_the_same_config(config):
    words = shlex.split(command(config))
    assert words[:3] == ["python", "-m", "pmsi"]
    typed = make_parser(config.task).parse_args(words[3:])
    assert to_config(CONFIGS[config.task](), typed) == config


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS), ["runs", "resume"], ["data", "check"]])
def test_every_help_is_complete_and_fits(words, pmsi, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    status, out, err = pmsi(*words, "--help")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    parser = parser_of(words[0]) if len(words) == 1 else None
    for action in parser._actions if parser else ():
        assert action.help or isinstance(action, argparse._SubParsersAction), f"{action.dest} has no help"
    if not words:
        assert all(name in out for name in COMMANDS)


LIGHT = """
import sys
from pmsi.cli.main import main
known = lambda *names: any(name in sys.modules for name in names)
try:
    main(["--help"])
except SystemExit:
    bad = known("torch", "numpy", "PIL", "streamlit")
import pmsi.robustness.report
sys.exit(bad or known("torch"))
"""


def test_help_needs_neither_torch_nor_numpy_and_looking_at_reports_no_torch():
    assert subprocess.run([sys.executable, "-c", LIGHT], cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0


def test_a_terminal_without_our_letters_gets_question_marks(pmsi, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    with pytest.raises(SystemExit, match="0"):
        main(["mosaic", "--help"])
    assert b"?" in sys.stdout.buffer.getvalue()


PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]


def documented():
    """Every command of the docs, as words: in code blocks and in the cells and sentences of `docs/command-line.md`."""
    found = []
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"`(pmsi [^`]+)`", text)
        commands = (re.sub(r"^(\w+=\S+ )*(python -m )?pmsi ", "", line.strip()) for line in lines if "pmsi " in line)
        found += [shlex.split(command, comments=True) for command in commands if re.match(r"[a-z]+ ?", command)]
    return [words for words in found if words and words[0] in COMMANDS]


def test_every_command_and_action_is_documented():
    told = {tuple(words[:2]) for words in documented()} | {(words[0],) for words in documented()}
    for name in COMMANDS:
        actions = [action for action in parser_of(name)._actions if isinstance(action, argparse._SubParsersAction)]
        assert (name,) in told
        for action in actions:
            assert {(name, choice) for choice in action.choices} <= told


def test_flags_of_the_docs_exist():
    parsers = {name: parser_of(name) for name in COMMANDS}
    for words in documented():
        parser = parsers[words[0]]
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction) and len(words) > 1:
                parser = action.choices[words[1]]
        known = {flag for action in parser._actions for flag in action.option_strings}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, words
