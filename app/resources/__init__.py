"""What all visitors share: data sets, models, and what was computed of them. The only place with ``st.cache_*``.

Nothing cached is ever changed by anybody: a model is loaded once for the process, and used by many threads at a time.
"""

from app.resources.counts import (
    batch_once,
    costs_once,
    counts_once,
    first_batch_once,
    layouts_once,
    part,
    protocols_once,
    receptive_fields,
    tried_once,
)
from app.resources.data import (
    kind_of_folder,
    open_builtin,
    open_folder,
    open_set,
    sample_image,
    squared_once,
    thumbnail_once,
)
from app.resources.models import (
    cam_seconds_once,
    disagreement_once,
    explain_once,
    predict_once,
    predictor_of,
    removal_once,
    stamp_of,
)
from app.resources.sweeps import sweep_picture_once, told_once

__all__ = [
    "batch_once",
    "cam_seconds_once",
    "costs_once",
    "counts_once",
    "disagreement_once",
    "explain_once",
    "first_batch_once",
    "kind_of_folder",
    "layouts_once",
    "open_builtin",
    "open_folder",
    "open_set",
    "part",
    "predict_once",
    "predictor_of",
    "protocols_once",
    "receptive_fields",
    "removal_once",
    "sample_image",
    "squared_once",
    "stamp_of",
    "sweep_picture_once",
    "thumbnail_once",
    "told_once",
    "tried_once",
]
