"""The smallest training config that the tests share: two epochs of a tiny network without pretrained weights."""

from pmsi.config import TrainConfig

SMALL = TrainConfig(
    backbone="tiny",
    weights="none",
    image_size=32,
    epochs=2,
    batch_size=8,
    channels=8,
    hidden=6,
    lr_new=0.05,
    trackers=(),
)
