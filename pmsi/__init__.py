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

# Threads that wait for each other by spinning bring a busy machine to a halt: with four other jobs on two cores, a
# training step took 50 times as long as with threads that sleep. OpenMP reads this once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
