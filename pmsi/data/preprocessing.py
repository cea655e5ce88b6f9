"""From an image to the network's input: resize, crop, flip, and normalisation by ImageNet's statistics (section IV-A).

Resizing and cropping work on 8-bit RGB. Normalisation is the last step, on the device, after the mosaic.
"""

from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pmsi.base.seeding import numpy_generator

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's RGB statistics on the 0–1 scale, as torchvision's weights expect them."""


def resize(image: Image.Image, side: int) -> np.ndarray:
    """Return the image resized to (side, side, 3) uint8, without keeping its aspect ratio: the paper's "512 × 512"."""
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def centre_crop(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return the middle (side, side, 3) of (h, w, 3)."""
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    return pixels[top : top + side, left : left + side]


def random_crop(pixels: np.ndarray, side: int, flip: bool, *seed: object) -> np.ndarray:
    """Return a random (side, side, 3) of (h, w, 3), flipped left to right half of the time if ``flip``.

    The draw depends on ``seed`` only, such as (seed, epoch, image key).
    """
    generator = numpy_generator("crop", *seed)
    top, left = (int(generator.integers(length - side + 1)) for length in pixels.shape[:2])
    crop = pixels[top : top + side, left : left + side]
    return crop[:, ::-1] if flip and generator.integers(2) else crop


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Return (h, w, 3) uint8 as a (3, h, w) uint8 tensor."""
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))


def to_picture(image: Tensor) -> Image.Image:
    """Return a (3, h, w) uint8 tensor as an RGB picture; the inverse of `to_tensor`."""
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def normalize(images: Tensor) -> Tensor:
    """Return (b, 3, h, w) uint8 as float32, normalised by ImageNet's mean and standard deviation, channels last."""
    scale, shift = _constants(images.device)
    return torch.addcmul(shift, images.float(), scale).contiguous(memory_format=torch.channels_last)


@cache
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return 1 / (255 STD) and −MEAN / STD, (3, 1, 1); cached, because each copy to a GPU would synchronise."""
    with torch.inference_mode(False):  # the first caller may be in inference mode, later ones may need gradients
        scale = torch.tensor([1 / (255 * s) for s in STD], device=device).view(3, 1, 1)
        shift = torch.tensor([-m / s for m, s in zip(MEAN, STD, strict=True)], device=device).view(3, 1, 1)
        return scale, shift
