"""PMSI Lab's core: progressive multi-stage interactive training with a recursive mosaic generator (arXiv 2112.04223).

Where to look, in the order in which an image travels:

    data         DATASETS: readers, the built-in plumage, batches
    augment      AUGMENTATIONS: the recursive mosaic and its rivals
    model        BACKBONES, heads, recognisers
    methods      METHODS: one row per line of the paper's Tables III and V
    training     Algorithm 1: fit(config, run)
    evaluation   accuracy of every head
    explain      Grad-CAM of several stages in one backward pass
    runs, jobs   a run is a folder; what can be done with one
    cli          the command line, one subcommand per task

Importing this package imports nothing heavy; import the module you need.
"""

import os

# Threads that wait for each other by spinning for long bring a busy machine to a halt: with other jobs on two cores, a
# training step was seen to take 50 times as long. Threads that sleep at once take twice as long on a quiet one. A short
# spin is near the best of both. OpenMP (GNU's) reads this once, when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.1.0"
