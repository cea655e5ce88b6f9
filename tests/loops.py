"""What tests of augmentations share: seeds, numbered pixels, and the paper's mosaic in plain loops."""

import torch


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(*shape, dtype=torch.int64):
    """Images whose every pixel is another number, (3, 2, 32, 48) unless another shape is asked for."""
    shape = shape or (3, 2, 32, 48)
    return torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)


def mosaic_by_loops(image, layout, number=0):
    """Section III-B in words: cut the block in four, permute, choose one of the four as the next block."""
    image = image.clone()
    top, left, (height, width) = 0, 0, image.shape[-2:]
    for order, pick in zip(layout.orders[number].tolist(), layout.picks[number].tolist(), strict=True):
        h, w = height // 2, width // 2
        corners = [(top, left), (top, left + w), (top + h, left), (top + h, left + w)]
        patches = [image[..., y : y + h, x : x + w].clone() for y, x in corners]
        for place, (y, x) in enumerate(corners):
            image[..., y : y + h, x : x + w] = patches[order[place]]
        (top, left), height, width = corners[pick], h, w
    return image
