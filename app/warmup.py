"""What is loaded before the first visitor comes: the libraries, one drawing, one mosaic, one encoded picture.

Nothing is kept here; what stays in memory stays in `app.shared.session` and in Python's own table of modules.
"""

import importlib

MODULES = (
    "plotly.graph_objects",
    "pmsi.pictures.mosaics",
    "pmsi.data",
    "pmsi.runs.jobs",
    "pmsi.model",
    "pmsi.engine.checkpoint",
    "pmsi.predictor",
    "pmsi.perturbations",
    "app.views.home.page",
    "app.views.mosaic.page",
    "app.views.train.page",
    "app.views.runs.page",
    "app.views.robustness.page",
    "app.views.maps.page",
    "app.views.compare.page",
    "app.views.data.page",
    "pmsi.robustness.page",
    "pmsi.pictures.overlays",
)


def warm_up() -> None:
    """Import what the pages import, and use the slow parts once.

    Torch gets one thread: visitors share few cores, and on a busy machine with two, four mosaics took 40 ms of CPU time
    with two threads and 7 ms with one. Jobs are processes of their own and keep theirs.
    """
    for name in MODULES:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    from app.shared.cached_data import open_builtin
    from app.views.mosaic.strip import DEPTH, PERMUTATIONS, SEEDS, SIDE, layouts_once
    from pmsi.pictures.encoding import jpeg
    from pmsi.pictures.mosaics import mosaics, square

    for permutation in PERMUTATIONS:
        layouts_once(SEEDS, DEPTH, permutation)
    data = open_builtin()
    for picture in mosaics(square(data.open_image(data.test[0]), SIDE)):
        jpeg(picture)
