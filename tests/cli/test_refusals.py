"""What is wrong is said in one line, with status 2, before anything is made."""

import json
import os
import shlex
import sys
from pathlib import Path

from pmsi.base.errors import PMSIError
from pmsi.runs import list_runs

REFUSED = {
    "": "COMMAND",
    "trian": "choose from",
    "train --epoch 3": "--epochs",
    "train extra": "'extra'",
    "train --epochs x": "'x'",
    "train --epochs 0": "--epochs 0: expected",
    "train --lr-new nan": "finite",
    "train --method best": "baseline, m, p, pm",
    "train --augmentation x": "rmg",
    "train --permutation x": "uniform, cycle",
    "train --device gpu": "auto, cpu, cuda",
    "train --preset fast": "quick, photos, paper, released",
    "train --weights nofile": "nofile",
    "train --weights ''": "empty",
    "train --dataset folder": "data",
    "train --dataset folder --data nowhere": "nowhere",
    "train --dataset cub --data text.jpg": "text.jpg",
    "train --dataset folder --data ~nobody-here/x": "~nobody-here",
    "train --resize 100 --image-size 200": "--resize 100 is below --image-size 200",
    "train --runs text.jpg": "'text.jpg'",
    "mosaic": "IMAGE, --out",
    "mosaic nofile --out x.png": "nofile",
    "mosaic folder --out x.png": "folder",
    "mosaic text.jpg --out x.png": "text.jpg",
    "mosaic 'a bird.png' --out x.doc": "'.doc'",
    "mosaic 'a bird.png' --out text.jpg/x.png": "text.jpg",
    "mosaic 'a bird.png' --out x.png --layout folder": "folder",
    "mosaic 'a bird.png' --out x.png --r 9": "0 to 8",
    "mosaic 'a bird.png' --out x.png --size 100": "104 × 104",
    "mosaic 'a bird.png' --out x.webp --strip --size 4096": ".png",
    "mosaic 'a bird.png' --out x.png --run any": "--beside",
    "mosaic 'a bird.png' --out x.png --beside 'a bird.png' --strip": "--beside",
    "mosaic 'a bird.png' --out x.png --beside gone.png": "gone.png",
    "evaluate": "RUN",
    "evaluate RUN --split val": "test, train",
    "predict nope 'a bird.png'": "'nope'",
    "predict ../runs 'a bird.png'": "../runs",
    "predict RUN text.jpg": "text.jpg",
    "predict RUN 'a bird.png' --top 0": "from 1",
    "predict RUN 'a bird.png' --perturb rotation": "rotation",
    "predict RUN 'a bird.png' --perturb rotation=1,2": "1,2",
    "predict RUN 'a bird.png' --perturb rotation=x": "x",
    "predict RUN 'a bird.png' --perturb rotation=999": "999",
    "predict RUN 'a bird.png' --perturb nothing=1": "nothing",
    "robustness RUN --perturbations fog": "color_jitter, gaussian_noise",
    "robustness RUN --severities -3": "0 to 1",
    "robustness RUN nope": "'nope'",
    "report nope --out x.csv": "'nope'",
    "explain RUN 'a bird.png'": "--out",
    "explain RUN 'a bird.png' --out x --rising rotation": "--figure",
    "explain RUN 'a bird.png' --figure x.gif --rising rotation --perturb jpeg=50": "--perturb",
    "explain RUN 'a bird.png' --figure x.gif --rising fogg": "'c_fog'",
    "explain RUN 'a bird.png' --figure x.png --rising rotation": "'.png'",
    "explain RUN 'a bird.png' --figure x.gif": ".svg",
    "explain RUN 'a bird.png' --figure x.png --scale batch": "map, image, all",
    "explain RUN 'a bird.png' --figure x.png --method cam": "gradcam",
    "explain RUN 'a bird.png' --out x --beside RUN": "one picture",
    "explain RUN 'a bird.png' --out x --region bill": "--region",
    "explain RUN test/ochre_finchling/0000 --dataset plumage --out x --region beak": "object",
    "explain RUN test/ochre_finchling/0000 --dataset plumage --out x --region bill --perturb rotation=5": "--perturb",
    "explain RUN 'a bird.png' 'a bird.png' --numbers": "--numbers",
    "explain RUN 'a bird.png' --out x --head S9": "S3, S4, S5, concat, mix",
    "explain RUN 'a bird.png' --out x --class Dodo": "Ochre Finchling",
    "runs": "ACTION",
    "runs show nope": "'nope'",
    "data check --dataset birds": "choose from",
    "data preview --out x.png --columns 0": "1 to 50",
    "info --method pmr --image-size 100": "104 × 104",
    "info --backbone tini": "tiny",
    "info --stage-num 9": "--stage-num 9",
    "info --classes 1": "--classes",
    "app --port 70000": "65535",
    "execute nowhere": "nowhere",
}
"""By command line: what its refusal must name, mostly the wrong value or what can be done about it."""


def test_what_is_wrong_is_one_line_and_status_2(trained, here, pmsi, monkeypatch):
    monkeypatch.setenv("PMSI_RUNS", str(trained.folder.parent))
    before = list_runs(trained.folder.parent)
    for line, named in REFUSED.items():
        status, out, err = pmsi(*(trained.id if word == "RUN" else word for word in shlex.split(line)))
        assert (status, out, err.count("\n")) == (2, "", 1), (line, err)
        assert err.startswith("pmsi: ")
        assert named in err, line
    assert list_runs(trained.folder.parent) == before
    assert not list(here.rglob("*.tmp"))


def test_errors_of_the_system_and_of_many_lines_are_one_line_too(pmsi, monkeypatch):
    def fail(error):
        def known_runs(root, **_):
            raise error

        monkeypatch.setattr("pmsi.cli.runs.known_runs", known_runs)
        return pmsi("runs", "list")

    assert fail(PermissionError(13, "Permission denied", "x")) == (2, "", "pmsi: x: Permission denied.\n")
    assert fail(OSError(28, "No space left on device")) == (2, "", "pmsi: No space left on device.\n")
    assert fail(PMSIError("one\n  two")) == (2, "", "pmsi: one two\n")
    assert fail(KeyboardInterrupt()) == (130, "", "")


def test_the_app_s_server_replaces_the_process(pmsi, here, monkeypatch):
    started = []
    monkeypatch.setattr(os, "execve", lambda *call: started.append(call))
    pmsi("app", "--port", "8765", "--runs", "my runs")
    ((program, argv, environment),) = started
    assert program == argv[0] == sys.executable
    assert "8765" in argv
    assert environment["PMSI_RUNS"] == "my runs"


def test_no_name_moves_the_cursor_or_turns_a_line_around(pmsi, tmp_path, trained):
    odd = "a\x1b[2K\r\u202egnp.\x85\udcff"
    status, out, err = pmsi("predict", trained.id, tmp_path / f"{odd}.png", "--runs", trained.folder.parent)
    assert (status, out) == (2, "")
    assert r"a\u001b[2K\r\u202egnp.\u0085\udcff.png" in err
    for words in (["runs", "show", odd], ["train", f"--{odd}"], ["train", "--method", odd], ["runs", "list", odd]):
        status, out, err = pmsi(*words, "--runs", tmp_path)
        assert status == 2
        assert err.rstrip("\n").isprintable()


def test_json_says_what_it_said_where_names_are_odd(pmsi, trained, here):
    Path("a bird.png").rename("a\u202ebird.png")
    status, out, err = pmsi("predict", trained.id, "a\u202ebird.png", "--runs", trained.folder.parent)
    assert (status, err) == (0, "")
    assert out.replace("\n", "").isprintable()
    assert json.loads(out)[0]["image"] == "a\u202ebird.png"
