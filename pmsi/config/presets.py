"""PRESETS: training configs by name, the starting points of the Train page and of `pmsi train --preset`."""

from dataclasses import dataclass

from pmsi.config import TrainConfig


@dataclass(frozen=True)
class Preset:
    """A row of PRESETS."""

    title: str
    help: str
    config: TrainConfig


PRESETS: dict[str, Preset] = {
    "quick": Preset(
        "Quick look",
        "The paper's method on the built-in birds with a small network, from scratch: about three minutes on two "
        "cores. It shows how everything works; its accuracy is no evidence for or against the method.",
        TrainConfig(
            dataset="plumage",
            backbone="tiny",
            weights="none",
            image_size=96,
            train_per_class=60,
            test_per_class=20,
            smooth_conv="separable",
            channels=128,
            hidden=64,
            dropout=0.1,
            epochs=28,
            batch_size=16,
            lr_new=0.03,
            evaluate_every=2,
        ),
    ),
    "photos": Preset(
        "Real photos, short",
        "The paper's method on a folder of your own photos, from ImageNet weights: 112 px, 20 training and 20 test "
        "photos of each class at most, six epochs. Minutes on two cores for a few dozen classes. A tenth of the "
        "training photos is held back to choose the best epoch on.",
        TrainConfig(
            dataset="folder",
            image_size=112,
            train_per_class=20,
            test_per_class=20,
            validation=0.1,
            smooth_conv="separable",
            epochs=6,
            batch_size=16,
            lr_pretrained=0.001,
            lr_new=0.01,
            frozen_epochs=1,
        ),
    ),
    "paper": Preset(
        "Paper recipe",
        "Section IV-A: MobileNetV2 with ImageNet weights, 448 px, 150 epochs on CUB-200-2011. It needs the data set's "
        "folder, and a GPU to end within the day.",
        TrainConfig(dataset="cub"),
    ),
    "released": Preset(
        "Released code's recipe",
        "The settings in which the public implementation differs from the paper: three times the learning rates, "
        "which hardly fall, the concat loss counted twice, one 4-cycle of patches for the whole batch, a stem of "
        "stride 1 (maps twice as large, four times the work) and BatchNorm of momentum 0.01 in the smooth convs.",
        TrainConfig(
            dataset="cub",
            lr_pretrained=3e-4,
            lr_new=3e-3,
            concat_weight=2.0,
            per_image=False,
            permutation="cycle",
            stem_stride=1,
            bn_momentum=0.01,
            schedule="released",
        ),
    ),
}
