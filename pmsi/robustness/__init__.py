"""A sweep: the accuracy of training runs on perturbed test images, the same pixels for each of them.

A sweep is a list of cells, each one perturbation at one severity; the first is the clean images. Each image is decoded,
resized and cropped once (as far as memory allows), perturbed once for each cell, and shown to every run that sees
images of that size. Importing this package imports no torch.

    task       what is checked before a sweep starts, and the sweep as a run
    cells      the perturbations at their severities
    models     the runs, and the test images that they share
    loader     the perturbed images
    inference  what the models answer, several batches at a time
    sweep      all cells, from the first unfinished one on
    report     what all cells say together
    results    a sweep read back; confusion: the images behind a number
    export     rows and CSV; page, drawing: the report as one HTML file
"""

from pmsi.robustness.cells import CLEAN, Cell, cells_of

__all__ = ["CLEAN", "Cell", "cells_of"]
