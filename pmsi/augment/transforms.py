"""The recursive mosaic as a transform of torchvision, and the phases of Algorithm 1 for training loops of one's own."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from pmsi.augment.mosaic import MAX_RECURSIONS, PERMUTATIONS, Layout, apply, check_divisible, plan, source_cells
from pmsi.augment.rule import recursions_of
from pmsi.base.errors import ConfigError, lookup
from pmsi.base.vision import tv_tensors, v2
from pmsi.model.batch import STAGES

ALL_COORDINATES = {"XYXY": 4, "XYXYXYXY": 8}
"""Coordinates of a box that move with it, by its format; of the other formats the first two do."""


class RecursiveMosaic(v2.Transform):
    """The recursive mosaic G(x, r) as a transform: cut 2×2, permute, and again in one of the four patches, r times.

    It takes what transforms of torchvision's v2 take: an image, or any sample of images, masks, boxes, key points and
    labels, alone or nested in tuples and dicts.

    - Images are PIL images of any mode, or tensors (..., c, h, w) of any dtype, of which no value is changed, lost or
      repeated. 2^r must divide h and w.
    - A batch gets a layout for each image, or one for all with ``per_image=False``. The frames of a `Video` share one.
    - Masks (..., h, w) move as the pixels do; those of a batch must start with the batch's dimensions.
    - Key points, (x, y) in pixels, move with the cell of the 2^r × 2^r grid in which they are.
    - Boxes move where the patch borders leave them whole. A box whose parts move to different places is no longer a
      box: `ConfigError`.
    - Boxes and key points of a batch are refused unless it shares one layout: it is not known which image is whose.

    Without a ``generator`` of the CPU's, draws come from torch's global one (``torch.manual_seed``), as those of
    torchvision do. Each worker of a DataLoader has a copy of an explicit generator, and all copies draw the same.

    Args:
        r: number of recursions, 0 to 8; the paper's are 1 to 3. r = 0 leaves the image as it is.
        permutation: "uniform" over the 24 orders of the four patches, or "cycle", which leaves none in its place.
        per_image: draw a layout for each image of a batch.
        generator: where the draws come from.

    Raises:
        ConfigError: r out of range, a side that 2^r does not divide, or what cannot be moved, as above.
    """

    def __init__(
        self,
        r: int = 3,
        *,
        permutation: str = "uniform",
        per_image: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= r <= MAX_RECURSIONS:
            raise ConfigError(f"r = {r}: the number of recursions is from 0 to {MAX_RECURSIONS}.")
        lookup("permutation", PERMUTATIONS, permutation)
        self.r, self.permutation, self.per_image = r, permutation, per_image
        self.generator = generator

    def extra_repr(self) -> str:
        """Return the settings, for ``repr``."""
        return f"r={self.r}, permutation={self.permutation!r}, per_image={self.per_image}"

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Return ``layout``, a `pmsi.augment.mosaic.Layout`, and ``batch``, the dimensions that it is drawn for."""
        batch = _batch(flat_inputs) if self.per_image else ()
        layout = plan(
            math.prod(batch),
            self.r,
            generator=self.generator or torch.default_generator,
            permutation=self.permutation,
        )
        return {"layout": layout, "batch": batch}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Return one part of the sample, moved as ``params`` say."""
        layout, batch = params["layout"], params["batch"]
        if isinstance(inpt, Image.Image):
            return _move_picture(inpt, layout)
        if isinstance(inpt, (tv_tensors.BoundingBoxes, tv_tensors.KeyPoints)):
            if batch:
                raise ConfigError(
                    f"{type(inpt).__name__} beside a batch of images {batch}: it is not known which image is whose. "
                    "Transform each image with its own, or set per_image=False."
                )
            move = _move_boxes if isinstance(inpt, tv_tensors.BoundingBoxes) else _move_points
            return tv_tensors.wrap(move(inpt.as_subclass(Tensor), inpt, layout), like=inpt)
        moved = _move_pixels(inpt.as_subclass(Tensor), layout, batch)
        return tv_tensors.wrap(moved, like=inpt) if isinstance(inpt, tv_tensors.TVTensor) else moved


def _batch(parts: list[Any]) -> tuple[int, ...]:
    """Return the dimensions of a sample's images before (c, h, w), or (t, c, h, w) of a video; () for one image."""
    for part in parts:
        if isinstance(part, Image.Image):
            return ()
        if isinstance(part, tv_tensors.Video):
            return tuple(part.shape[:-4])
        if isinstance(part, tv_tensors.Image) or not isinstance(part, tv_tensors.TVTensor):
            return tuple(part.shape[:-3])
    return ()


def _move_pixels(pixels: Tensor, layout: Layout, batch: tuple[int, ...]) -> Tensor:
    """Return ``pixels`` (*batch, ..., h, w) moved by a layout for each of the batch."""
    if pixels.dim() < 2 + len(batch) or tuple(pixels.shape[: len(batch)]) != batch:
        raise ConfigError(f"A tensor of shape {tuple(pixels.shape)}: expected ({', '.join(map(str, batch))} …, h, w).")
    h, w = pixels.shape[-2:]
    return apply(pixels.reshape(len(layout), -1, h, w), layout).reshape(pixels.shape)


def _move_picture(picture: Image.Image, layout: Layout) -> Image.Image:
    check_divisible((picture.height, picture.width), layout.r)
    g = 2**layout.r
    w, h = picture.width // g, picture.height // g
    moved = picture.copy()
    for y, row in enumerate(source_cells(layout)[0].tolist()):
        for x, cell in enumerate(row):
            left, top = cell % g * w, cell // g * h
            moved.paste(picture.crop((left, top, left + w, top + h)), (x * w, y * h))
    return moved


def _shifts(canvas: tuple[int, int], layout: Layout) -> tuple[Tensor, Tensor]:
    """Return by how many pixels each cell (y, x) of the grid moves, (g, g, 2) as (x, y), and a cell's sides (2,)."""
    check_divisible(canvas, layout.r)
    g = 2**layout.r
    sides = torch.tensor([canvas[1] // g, canvas[0] // g])
    goal = source_cells(layout, inverse=True)[0]
    cell = torch.arange(g * g).reshape(g, g)
    return torch.stack([goal % g - cell % g, goal // g - cell // g], dim=-1) * sides, sides


def _move_points(points: Tensor, like: Any, layout: Layout) -> Tensor:
    """Return key points (..., 2), each moved with its cell; one outside the image moves with the nearest cell."""
    shifts, sides = _shifts(like.canvas_size, layout)
    cells = (points.cpu() // sides).long().clamp(0, len(shifts) - 1)
    return points + shifts[cells[..., 1], cells[..., 0]].to(points)


def _move_boxes(boxes: Tensor, like: Any, layout: Layout) -> Tensor:
    """Return boxes (n, k), each moved with the cells that it covers, or raise ConfigError where they part."""
    if len(boxes) == 0:
        return boxes.clone()
    shifts, sides = _shifts(like.canvas_size, layout)
    rotated = tv_tensors.is_rotated_bounding_format(like.format)
    corners = v2.functional.convert_bounding_box_format(like, new_format="XYXYXYXY" if rotated else "XYXY")
    corners = corners.as_subclass(Tensor).cpu().double().reshape(len(boxes), -1, 2)
    first = (corners.amin(dim=1) / sides).floor().long().clamp(0, len(shifts) - 1)  # (n, 2) as (x, y)
    last = ((corners.amax(dim=1) / sides).ceil().long() - 1).clamp(0, len(shifts) - 1).maximum(first)
    moved = boxes.clone()
    for number, ((x1, y1), (x2, y2)) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        covered = shifts[y1 : y2 + 1, x1 : x2 + 1].reshape(-1, 2)
        if bool((covered != covered[0]).any()):
            raise ConfigError(
                f"Box {number}, {boxes[number].tolist()} as {like.format.value}, is cut by a patch border: its parts "
                f"move to different places, so it is no box any more. Lower r (now {layout.r}), leave boxes out of the "
                "sample, or use masks, which move with the pixels."
            )
        count = ALL_COORDINATES.get(like.format.value, 2)
        moved[number, :count] += covered[0].repeat(count // 2).to(moved)
    return moved


class ProgressiveMosaic:
    """The phases of Algorithm 1 for any training loop: calling it with a batch yields (r, images), finest first.

    With ``stage_num`` = 3 a batch is shown with r = 3, 2, 1, 0, in this order; each phase trains what the loop chooses
    (the paper: the classifier of one more stage, at last all together) by one optimizer step. r is at most 3, and the
    last phase shows the images as they are.

        for images, labels in loader:
            for r, mosaics in progressive(images):
                loss = criterion(model(mosaics), labels)
                ...

    Args:
        stage_num: StageNum, 1 to 5: how many of the last stages take part; the phases are one more.
        options: those of `RecursiveMosaic`: permutation, per_image, generator. Each phase draws anew.

    Raises:
        ConfigError: stage_num out of range, or what `RecursiveMosaic` raises.
    """

    def __init__(self, stage_num: int = 3, **options: Any) -> None:
        if not 1 <= stage_num <= STAGES:
            raise ConfigError(f"stage_num = {stage_num}: expected a number of stages from 1 to {STAGES}.")
        self.recursions = (*(recursions_of(stage) for stage in range(STAGES - stage_num + 1, STAGES + 1)), 0)
        self._mosaics = {r: RecursiveMosaic(r, **options) for r in self.recursions}

    def __len__(self) -> int:
        return len(self.recursions)

    def __repr__(self) -> str:
        return f"ProgressiveMosaic(recursions={self.recursions})"

    def __call__(self, images: Any) -> Iterator[tuple[int, Any]]:
        """Yield (r, G(images, r)) for each phase; ``images`` are (b, c, h, w), or whatever `RecursiveMosaic` takes."""
        for r in self.recursions:
            yield r, self._mosaics[r](images)
