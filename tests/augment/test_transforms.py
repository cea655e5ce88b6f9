"""`RecursiveMosaic` and `ProgressiveMosaic`, against cells moved one by one by hand."""

import numpy as np
import pytest
import torch
from loops import mosaic_by_loops, numbered, seeded
from PIL import Image

from pmsi.augment.mosaic import apply
from pmsi.augment.transforms import ProgressiveMosaic, RecursiveMosaic
from pmsi.base.errors import ConfigError
from pmsi.base.vision import tv_tensors, v2


def mosaic(r=2, seed=0, **options):
    return RecursiveMosaic(r, generator=seeded(seed), **options)


def origins(size, layout, image=0):
    """Where each pixel of the mosaic comes from, as rows y and columns x, (2, size, size)."""
    places = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return mosaic_by_loops(torch.stack(places), layout, image)


@pytest.mark.parametrize(
    "images",
    [
        numbered(3, 16, 16),
        numbered(2, 3, 16, 16).float(),
        tv_tensors.Image(numbered(2, 2, 1, 16, 16, dtype=torch.uint8)),
        tv_tensors.Video(numbered(2, 5, 3, 16, 16, dtype=torch.float16)),
    ],
    ids=["one", "batch", "batch of two dimensions", "video"],
)
def test_tensors_are_permuted_cell_by_cell_each_image_by_a_layout_of_its_own(images):
    moved = mosaic()(images)
    layout = mosaic().make_params([images])["layout"]
    assert type(moved) is type(images)
    assert moved.dtype == images.dtype
    flat = images.as_subclass(torch.Tensor).reshape(len(layout), -1, 16, 16)
    came = moved.as_subclass(torch.Tensor).reshape(flat.shape)
    for number in range(len(layout)):
        y, x = origins(16, layout, number)
        assert torch.equal(came[number], flat[number][:, y, x])
    assert torch.equal(apply(came, layout, inverse=True), flat)
    assert len(layout) == {3: 1, 4: 2, 5: 2 if isinstance(images, tv_tensors.Video) else 4}[images.dim()]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1"])
def test_a_picture_moves_as_its_pixels_do(mode):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    moved = mosaic(3)(picture)
    y, x = origins(16, mosaic(3).make_params([picture])["layout"]).numpy()
    assert moved.mode == mode
    assert np.array_equal(np.asarray(moved.convert("RGBA")), np.asarray(picture.convert("RGBA"))[y, x])


def test_masks_key_points_and_whole_boxes_move_with_the_image_and_labels_stay():
    size, canvas = 16, (16, 16)
    image = torch.zeros(1, size, size)
    image[0, 5, 9] = 1
    kinds = {"XYXY": [9, 5, 11, 7], "CXCYWH": [10, 6, 2, 2], "XYWHR": [9, 5, 2, 2, 0.0]}
    sample = {
        "image": tv_tensors.Image(image),
        "mask": tv_tensors.Mask(image.bool()),
        "points": tv_tensors.KeyPoints(torch.tensor([[[9, 5]], [[9, 5]]]), canvas_size=canvas),
        "label": torch.tensor(7),
        **{
            kind: tv_tensors.BoundingBoxes(torch.tensor([box]).float(), format=kind, canvas_size=canvas)
            for kind, box in kinds.items()
        },
    }
    moved = v2.Compose([mosaic(2)])(sample)
    ((y, x),) = moved["image"][0].nonzero().tolist()
    assert torch.equal(moved["mask"], moved["image"].bool())
    assert moved["points"].tolist() == [[[x, y]], [[x, y]]]
    assert moved["label"] is sample["label"]
    for kind, box in kinds.items():
        shift = [x - 9, y - 5, *([x - 9, y - 5] if kind == "XYXY" else [0] * (len(box) - 2))]
        assert moved[kind].tolist() == [[a + b for a, b in zip(box, shift, strict=True)]]
        assert moved[kind].format.value == kind


def test_a_box_is_refused_exactly_where_its_pixels_part():
    whole = 0
    for seed in range(30):
        layout = mosaic(2, seed).make_params([torch.zeros(1, 16, 16)])["layout"]
        place = origins(16, layout)
        box = tv_tensors.BoundingBoxes([[9, 2, 15, 4]], format="XYXY", canvas_size=(16, 16))
        goal = {tuple(place[:, y, x].tolist()): (y, x) for y in range(16) for x in range(16)}
        shifts = {(goal[y, x][0] - y, goal[y, x][1] - x) for y in range(2, 4) for x in range(9, 15)}
        try:
            moved = mosaic(2, seed)((torch.zeros(1, 16, 16), box))[1]
        except ConfigError:
            assert len(shifts) > 1, seed
        else:
            ((down, right),) = shifts
            assert moved.tolist() == [[9 + right, 2 + down, 15 + right, 4 + down]]
            whole += 1
    assert 0 < whole < 30


def test_masks_of_a_batch_move_each_with_its_image_and_boxes_of_one_are_refused():
    images = numbered(4, 1, 8, 8)
    sample = (tv_tensors.Image(images), tv_tensors.Mask(images[:, 0]))
    moved, masks = mosaic(1)(sample)
    assert torch.equal(moved[:, 0].as_subclass(torch.Tensor), masks.as_subclass(torch.Tensor))
    assert len({tuple((a - b).flatten().tolist()) for a, b in zip(moved, images, strict=True)}) > 1
    points = tv_tensors.KeyPoints([[1, 1]], canvas_size=(8, 8))
    with pytest.raises(ConfigError, match="per_image"):
        mosaic(1)((images, points))
    with pytest.raises(ConfigError, match="shape"):
        mosaic(1)((images, tv_tensors.Mask(numbered(3, 8, 8))))
    moved, point = mosaic(1, per_image=False)((images, points))
    assert {tuple((a - b).flatten().tolist()) for a, b in zip(moved, images, strict=True)} == {
        tuple((moved[0] - images[0]).flatten().tolist())
    }
    x, y = point[0].tolist()
    assert moved[0, 0, y, x] == images[0, 0, 1, 1]


def test_draws_come_from_torch_s_generator_or_one_s_own_and_what_cannot_be_cut_is_refused():
    images = numbered(8, 1, 8, 8)
    torch.manual_seed(3)
    first, second = RecursiveMosaic(2)(images), RecursiveMosaic(2)(images)
    torch.manual_seed(3)
    assert torch.equal(RecursiveMosaic(2)(images), first)
    assert not torch.equal(first, second)
    before = torch.get_rng_state()
    assert torch.equal(mosaic()(images), mosaic()(images))
    assert torch.equal(torch.get_rng_state(), before)
    for image in (torch.zeros(3, 20, 24), Image.new("RGB", (20, 24))):
        with pytest.raises(ConfigError, match="multiple"):
            RecursiveMosaic(3)(image)
    for wrong in ({"r": 9}, {"permutation": "none"}):
        with pytest.raises(ConfigError):
            RecursiveMosaic(**wrong)


@pytest.mark.parametrize(("stage_num", "recursions"), [(1, (1, 0)), (3, (3, 2, 1, 0)), (5, (3, 3, 3, 2, 1, 0))])
def test_a_batch_goes_through_the_phases_of_algorithm_1(stage_num, recursions):
    images = torch.rand(2, 3, 16, 16)
    progressive = ProgressiveMosaic(stage_num, generator=seeded())
    phases = list(progressive(images))
    assert tuple(r for r, _ in phases) == recursions
    assert len(progressive) == len(phases)
    assert torch.equal(phases[-1][1], images)
    alone = seeded()
    for r, shown in phases:
        assert torch.equal(shown, RecursiveMosaic(r, generator=alone)(images))
    with pytest.raises(ConfigError, match="stage_num"):
        ProgressiveMosaic(6)
