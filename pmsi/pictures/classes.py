"""Pictures of a class that show what distinguishes it: its distinctive parts in boxes."""

from PIL import Image

from pmsi.data.dataset import Dataset, Sample
from pmsi.pictures.overlays import WHITE, box_lines, draw_lines

LOOKED_AT = 3
"""Training images of a class among which the clearest is looked for: each is opened with its parts."""


def clearest(dataset: Dataset, label: int) -> Sample | None:
    """Return the training image of a class, of its first few, whose smallest distinctive part is the largest.

    The first one where nothing is known of parts; None for a class without training images.
    """
    some = [sample for sample in dataset.train if sample.label == label][:LOOKED_AT]
    known = dataset.distinctions.get(dataset.classes[label])
    if known is None:
        return next(iter(some), None)

    def seen(sample: Sample) -> int:
        masks = dataset.open_parts(sample)
        return min((int(masks[part].sum()) for part in known.parts if part in masks), default=0)

    return max(some, key=seen, default=None)


def boxed(dataset: Dataset, sample: Sample) -> Image.Image:
    """Return the image of a sample with a box around each part that distinguishes its class."""
    picture, masks = dataset.open_image(sample).copy(), dataset.open_parts(sample)
    known = dataset.distinctions.get(dataset.classes[sample.label])
    for part in known.parts if known else ():
        if part in masks:
            draw_lines(picture, box_lines(masks[part]), WHITE, max(2, round(max(picture.size) / 75)))
    return picture
