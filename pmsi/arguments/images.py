"""What the subcommands about single images take."""

import argparse

from pmsi.arguments.shared import KEYED, TRAINED, add_images_of, add_like, add_runs
from pmsi.config import ExplainConfig, TrainConfig
from pmsi.flags import folder, path, whole

METHOD = (
    "How maps are made: gradcam, layercam and others of one pass, or a class of pytorch-grad-cam (scorecam, "
    "ablationcam, …), whose seconds an image are said at the start [gradcam]."
)


def mosaic(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=path, metavar="IMAGE", help=f"Picture to cut{KEYED}.")
    add_images_of(parser)
    parser.add_argument("--r", type=whole(0, 8), default=3, metavar="N", help="Recursions, 0 to 8 [3].")
    add_like(parser, "seed", "Seed of the layout", type=whole(0, 2**31 - 1), metavar="N")
    size = TrainConfig().image_size
    parser.add_argument(
        "--size", type=whole(1, 4096), default=size, metavar="N", help=f"Side in pixels, a multiple of 2^r [{size}]."
    )
    add_like(parser, "permutation", "One of the 24 orders of four patches, or of the six 4-cycles", metavar="NAME")
    parser.add_argument(
        "--strip", action="store_true", help="Show r = 0, 1, …, N side by side with borders; else G(p, N) alone."
    )
    parser.add_argument("--no-borders", dest="borders", action="store_false", help="Draw no borders of patches.")
    parser.add_argument("--layout", type=path, metavar="FILE", help="Write the layout as JSON too.")
    help = "Write what every augmentation makes of the image, mixed with this one (a picture, or a key as IMAGE is)."
    parser.add_argument("--beside", type=path, metavar="IMAGE", help=help)
    help = "With --beside: the run that SnapMix asks where it looks [none: every place counts alike]."
    parser.add_argument("--run", metavar="RUN", help=help)
    help = "Picture to write (.png, .jpg, …), or the recursion as it happens (.gif)."
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help=help)
    add_runs(parser)


def predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED)
    parser.add_argument("images", nargs="+", type=path, metavar="IMAGE", help=f"Pictures to recognise{KEYED}.")
    add_images_of(parser)
    parser.add_argument("--top", type=whole(1, 10**6), default=5, metavar="N", help="Classes shown for each head [5].")
    _perturbed(parser)
    add_like(parser, "device", "Where to compute", metavar="NAME")
    add_runs(parser)


def _perturbed(parser: argparse.ArgumentParser) -> None:
    help = "Perturb what the network sees, by one after the other: rotation=10, color_jitter=0.5 gaussian_noise=5."
    parser.add_argument("--perturb", nargs="+", default=[], metavar="NAME=X", help=help)
    help = "Seed of what a perturbation draws, beside the image's name [0]."
    parser.add_argument("--seed", type=whole(0, 2**31 - 1), default=0, metavar="N", help=help)


def explain(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED)
    parser.add_argument("images", nargs="+", type=path, metavar="IMAGE", help=f"Pictures to explain{KEYED}.")
    add_images_of(parser)
    parser.add_argument("--beside", nargs="+", default=[], metavar="RUN", help="More runs, for --figure.")
    parser.add_argument("--head", metavar="NAME", help="Output to explain: S3, S4, concat, mix … [the primary one].")
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="Class to explain [the one predicted].")
    parser.add_argument("--method", default="gradcam", metavar="NAME", help=METHOD)
    parser.add_argument("--out", type=folder, metavar="DIR", help="Folder for the pictures and maps.json of one image.")
    help = "All images and runs as one figure for print (.png or .svg), or with --rising as an animation (.gif)."
    parser.add_argument("--figure", type=path, metavar="FILE", help=help)
    help = "With --figure: animate what becomes of the maps as this perturbation grows, from the clean image on."
    parser.add_argument("--rising", metavar="NAME", help=help)
    help = "With --dataset: outline the object, the distinctive parts, or one part by its name."
    parser.add_argument("--region", metavar="NAME", help=help)
    _measured(parser)
    _perturbed(parser)
    parser.add_argument("--scale", default="map", metavar="NAME", help="Maps of one scale: map, image or all [map].")
    add_like(parser, "device", "Where to compute", metavar="NAME")
    add_runs(parser)


def _measured(parser: argparse.ArgumentParser) -> None:
    help = "Print each map's peak and, with --dataset, how well it points to --region [the object], with its baselines."
    parser.add_argument("--numbers", action="store_true", help=help)
    tolerance = round(ExplainConfig().tolerance)
    help = f"With --numbers: pixels by which a peak may miss the region [{tolerance}]."
    parser.add_argument("--tolerance", type=whole(0, 512), default=tolerance, metavar="N", help=help)
    help = "Print the areas under each map's deletion and insertion curves; with --out, maps.json has the curves."
    parser.add_argument("--removal", action="store_true", help=help)
