"""What the other subcommands take: those that print or write one thing, and those that launchers call."""

import argparse

from pmsi.arguments.shared import TRAINED, add_like, add_runs
from pmsi.config import TrainConfig
from pmsi.flags import flag, folder, path, whole


def info(parser: argparse.ArgumentParser) -> None:
    start = TrainConfig()
    for name, kind, default, help in (
        ("method", str, None, "Methods [all]."),
        ("backbone", str, [start.backbone], f"Networks that make the stage maps, timm:NAME too [{start.backbone}]."),
        ("image_size", int, [start.image_size], f"Sides of the image, in pixels [{start.image_size}]."),
        ("smooth_conv", str, None, "Smooth conv blocks of the methods that have them [all]."),
    ):
        metavar = "N" if kind is int else "NAME"
        parser.add_argument(flag(name), nargs="+", type=kind, default=default, metavar=metavar, help=help)
    add_like(parser, "stem_stride", "Stride of the backbones' first convolution", type=int, metavar="N")
    add_like(parser, "stage_num", "StageNum: how many of the last stages take part", type=int, metavar="N")
    for name, help in {"channels": "c [half of the last stage's channels].", "hidden": "h [c/2]."}.items():
        parser.add_argument(flag(name), type=int, metavar="N", help=help)
    parser.add_argument("--classes", type=whole(2, 10**6), default=200, metavar="N", help="Classes [200, as in CUB].")
    add_like(parser, "batch_size", "Images in a batch, which the memory of training goes by", type=int, metavar="N")
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED)
    help = "File to write: .safetensors (weights, for this program) or .pt2 (a program that needs torch alone)."
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help=help)
    parser.add_argument("--half", action="store_true", help="Round the weights to half precision: half the size.")
    add_runs(parser)


def demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=folder, required=True, metavar="DIR", help="Folder that is made or replaced.")
    add_like(parser, "weights", "Weights to start from: imagenet, none, or a file", metavar="FILE")
    add_runs(parser)


def report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="Sweep (its id, or how it begins).")
    help = "File to write: .html, or .csv with a line for each run, cell and output."
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help=help)
    parser.add_argument("--per-image", action="store_true", help="With .csv: a line for each image and run.")
    parser.add_argument("--no-pictures", dest="pictures", action="store_false", help="With .html: open no data set.")
    add_runs(parser)


def app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=whole(1, 65535), default=8501, metavar="N", help="Port [8501].")
    add_runs(parser)


def execute(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=folder, metavar="FOLDER", help="Run folder.")


def runner(parser: argparse.ArgumentParser) -> None:
    text = "Device whose queue is served: cpu, or a GPU as CUDA_VISIBLE_DEVICES names it [cpu]."
    parser.add_argument("--device", default="cpu", metavar="NAME", help=text)
    add_runs(parser)
