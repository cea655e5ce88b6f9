"""The recursive mosaic as a torchvision transform, and the phases of Algorithm 1 for any training loop."""

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
"""Number of coordinates of a box that are positions, by its format; in other formats, two."""


class RecursiveMosaic(v2.Transform):
    """The recursive mosaic G(x, r) as a transform: cut 2×2, permute, and repeat in one of the four patches, r times.

    It takes what torchvision's v2 transforms take: an image, or a sample of images, masks, boxes, key points and
    labels, nested in tuples and dicts.

    - Images are PIL images of any mode, or tensors (..., c, h, w) of any dtype. Pixels are permuted exactly. 2^r must
      divide h and w.
    - A batch gets a layout for each image, or one for all with ``per_image=False``. The frames of a `Video` share one.
    - Masks (..., h, w) move with the pixels; those of a batch must start with the batch's dimensions.
    - Key points, (x, y) in pixels, move with their cell of the 2^r × 2^r grid.
    - Boxes move with their cells. If the cells of a box move to different places, `ConfigError` is raised.
    - Boxes and key points of a batch need ``per_image=False``, because they do not say to which image they belong.

    Without a ``generator``, one of the CPU's, draws come from torch's global one (``torch.manual_seed``), like those of
    torchvision. Each worker of a DataLoader has a copy of an explicit generator, and all copies draw the same.

    Args:
        r: number of recursions, 0 to 8; the paper's are 1 to 3. r = 0 leaves the image as it is.
        permutation: "uniform" over the 24 orders of the four patches, or "cycle", in which every patch moves.
        per_image: draw a layout for each image of a batch.
        generator: the generator of the draws.

    Raises:
        ConfigError: r out of range, a side that 2^r does not divide, or boxes and points as above.
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
        """Return ``layout``, a `pmsi.augment.mosaic.Layout`, and ``batch``, the batch's dimensions."""
        batch = _batch(flat_inputs) if self.per_image else ()
        layout = plan(
            math.prod(batch),
            self.r,
            generator=self.generator or torch.default_generator,
            permutation=self.permutation,
        )
        return {"layout": layout, "batch": batch}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Return one part of the sample, moved by the layout in ``params``."""
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
    """Return the dimensions of a sample's images before (c, h, w), or before (t, c, h, w) of a video."""
    for part in parts:
        if isinstance(part, Image.Image):
            return ()
        if isinstance(part, tv_tensors.Video):
            return tuple(part.shape[:-4])
        if isinstance(part, tv_tensors.Image) or not isinstance(part, tv_tensors.TVTensor):
            return tuple(part.shape[:-3])
    return ()


def _move_pixels(pixels: Tensor, layout: Layout, batch: tuple[int, ...]) -> Tensor:
    """Return ``pixels`` (*batch, ..., h, w), each moved by its layout."""
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
    """Return the shift of each cell (y, x) of the grid in pixels, (g, g, 2) as (x, y), and a cell's sides (2,)."""
    check_divisible(canvas, layout.r)
    g = 2**layout.r
    sides = torch.tensor([canvas[1] // g, canvas[0] // g])
    goal = source_cells(layout, inverse=True)[0]
    cell = torch.arange(g * g).reshape(g, g)
    return torch.stack([goal % g - cell % g, goal // g - cell // g], dim=-1) * sides, sides


def _move_points(points: Tensor, like: Any, layout: Layout) -> Tensor:
    """Return key points (..., 2), each moved with its cell; points outside the image move with the nearest cell."""
    shifts, sides = _shifts(like.canvas_size, layout)
    cells = (points.cpu() // sides).long().clamp(0, len(shifts) - 1)
    return points + shifts[cells[..., 1], cells[..., 0]].to(points)


def _move_boxes(boxes: Tensor, like: Any, layout: Layout) -> Tensor:
    """Return boxes (n, k), each moved with its cells; ConfigError if these move to different places."""
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
    """The phases of Algorithm 1 for any training loop: a call with a batch yields (r, images), the largest r first.

    With ``stage_num`` = 3, r is 3, 2, 1, 0; the loop takes one optimizer step for each. In the paper, each phase trains
    the classifier of the next stage, and the last phase that of all. r is at most 3; the last images are unchanged.

        for images, labels in loader:
            for r, mosaics in progressive(images):
                loss = criterion(model(mosaics), labels)
                ...

    Args:
        stage_num: StageNum, 1 to 5, the number of stages that are trained; there is one phase more.
        options: those of `RecursiveMosaic`: permutation, per_image, generator. Each phase has a new draw.

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
        """Yield (r, G(images, r)) for each phase; ``images`` are (b, c, h, w), or a sample for `RecursiveMosaic`."""
        for r in self.recursions:
            yield r, self._mosaics[r](images)
