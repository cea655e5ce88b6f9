"""Which methods and backbones have an ONNX form with maps: a table of megabytes and seconds, or the reason why not.

    python -m benchmarks.exports
    python -m benchmarks.exports --methods pmr bcnn --backbones tiny --side 96

Networks have random weights, and BatchNorm statistics of noise. Each is exported as `pmsi export` does it, with the
same check against the network: answers of every head, maps of three stages, eight drawings. Methods that build the
same network are one line.
"""

import argparse
import os
import tempfile
import time

import torch

from benchmarks.cam import CLASSES, settled
from pmsi.base.errors import PMSIError
from pmsi.config import TrainConfig
from pmsi.methods import METHODS

BACKBONES = ("tiny", "mobilenet_v2", "resnet18", "timm:mobilenetv4_conv_small")


def main() -> None:
    """Parse the flags, export, and print a line for each network."""
    from pmsi.graph.onnx_file import onnx_bytes

    alike: dict[object, list[str]] = {}
    for name, row in METHODS.items():
        alike.setdefault(row.build, []).append(name)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=[names[0] for names in alike.values()])
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--smooth-conv", default="separable")
    parser.add_argument("--side", type=int, default=64)
    flags = parser.parse_args()
    os.environ["PMSI_CACHE"] = tempfile.mkdtemp()  # each is made anew
    for backbone in flags.backbones:
        for method in flags.methods:
            config = TrainConfig(
                method=method, backbone=backbone, weights="none", image_size=flags.side, smooth_conv=flags.smooth_conv
            )
            names = ", ".join(next((names for names in alike.values() if method in names), [method]))
            began = time.perf_counter()
            try:
                torch.manual_seed(0)
                model = settled(config, torch.device("cpu"))
                about = {
                    "classes": [str(label) for label in range(CLASSES)],
                    "heads": model.heads,
                    "primary": model.primary,
                }
                size = len(onnx_bytes(model, about | {"resize": config.resize_to, "image_size": flags.side}))
                found = f"{size / 1e6:.1f} MB, {time.perf_counter() - began:.0f} s"
            except PMSIError as error:
                found = f"refused: {error}"
            print(f"| {backbone} | {names} | {found} |", flush=True)


if __name__ == "__main__":
    main()
