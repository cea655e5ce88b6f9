"""`python -m pmsi.graph FOLDER`: make the graph of the run in a folder, which is then kept in the cache."""

import sys
from pathlib import Path

import torch

from pmsi.base.errors import PMSIError
from pmsi.engine.checkpoint import load_model
from pmsi.graph.onnx_file import graph_bytes
from pmsi.runs import Run


def main() -> None:
    """Make the graph; a model that has none is an error in one line."""
    try:
        model, config, _ = load_model(Run(Path(sys.argv[1])), torch.device("cpu"))
        graph_bytes(model, (config.resize_to, config.image_size))
    except PMSIError as error:
        sys.exit(f"pmsi: {error}")


if __name__ == "__main__":
    main()
