"""PMSI Lab's core: progressive multi-stage interactive training with a recursive mosaic generator (arXiv 2112.04223).

Where to look, in the order in which an image travels:

    data         DATASETS: readers, the built-in plumage, batches
    augment      AUGMENTATIONS: the recursive mosaic and its rivals
    model        BACKBONES, heads, recognisers
    methods      METHODS: one row per line of the paper's Tables III and V
    training     Algorithm 1: fit(config, run)
    evaluation   accuracy of every head
    explain      Grad-CAM of several stages in one backward pass
    runs         Run: a folder with a config, metrics, checkpoints and a result
    cli          the command line, one file per subcommand

Importing this package does not import torch; import the module you need.
"""

import os

# OpenMP threads that wait for each other spin by default. On a busy machine that is slow: with other jobs on two cores,
# a training step took 50 times as long. Without any spinning, a step takes twice as long on a quiet machine. A short
# spin is near the best of both. GNU's OpenMP reads this variable once, when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.1.0"
