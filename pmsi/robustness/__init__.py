"""Robustness sweeps: the accuracy of trained runs on perturbed test images, the same pixels for every run.

A sweep is a list of cells; a cell is one perturbation at one severity, and the first cell is the clean images. Each
image is decoded, resized and cropped once (as far as memory allows), perturbed once per cell, and given to every model
with that input size. Importing this package does not import torch.

    cells      the perturbations at their severities
    models     the models, and their common test images
    loader     batches of perturbed images
    inference  the predictions of the models, several batches at a time
    sweep      the task "robustness": its checks, and the work on all unfinished cells
    report     tests, drops, flips and survival, computed from the predictions
    results    a sweep read from its folder
    confusion  confusion matrices, and the images behind a number
    export     rows and CSV
    page       the report as one HTML file; drawing has its figures
"""

from pmsi.robustness.cells import CLEAN, Cell, cells_of
