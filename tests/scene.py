"""A picture that perturbations do visible things to, for the tests of several modules."""

import numpy as np


def scene(height=48, width=64, seed=0):
    """Return broad shapes and fine grain (height, width, 3) uint8, mid-tones mostly, as photographs have."""
    from scipy import ndimage

    generator = np.random.default_rng(seed)
    broad = ndimage.gaussian_filter(generator.standard_normal((height, width, 3)), (6, 6, 0))
    fine = ndimage.gaussian_filter(generator.standard_normal((height, width, 3)), (1, 1, 0))
    return (128 + 400 * broad + 40 * fine).clip(0, 255).astype(np.uint8)


def distance(a, b):
    """Return the mean absolute difference of two images, in grey levels."""
    return np.abs(a.astype(float) - b).mean()
