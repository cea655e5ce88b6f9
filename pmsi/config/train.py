"""TrainConfig: the settings of training, each with its default, range, help text and the paper's value.

Defaults are those of the paper's section IV-A. Names (of a method, a backbone, …) are looked up in their tables when
the config is used.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from pmsi.base.errors import ConfigError, Fix
from pmsi.base.files import expanded
from pmsi.config.declare import Config, setting

SPLIT_FIELDS = ("dataset", "data", "name_encoding", "label_column", "test_fraction", "split", "test_on", "split_seed")
"""Fields that decide which images a data set has, and on which side of its split each is."""

DATA_FIELDS = (*SPLIT_FIELDS, "train_per_class", "test_per_class")
"""Fields that decide which images a run has."""

WEIGHT_WORDS = ("imagenet", "none")
"""What ``weights`` can be other than a file."""


def resize_for(image_size: int) -> int:
    """Return the side to which images are resized before the crop to ``image_size``: the paper's 512 for 448."""
    return round(image_size * 8 / 7)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """One training run: the data, the model, the augmentation and the recipe."""

    task: ClassVar[str] = "train"

    # What to learn from
    dataset: str = setting("plumage", "Data set.", group="data", options="data set", paper="cub")
    data: str | None = setting(
        None, "Folder of the data set, where it is not built in, or a zip or tar of it.", group="data"
    )
    name_encoding: str | None = setting(
        None, "Encoding of names in a zip or list that does not say it, such as gbk or cp437.", group="data"
    )
    label_column: str | None = setting(
        None, "Column with the classes, where a list of images, such as labels.csv, has several.", group="data"
    )
    image_size: int = setting(
        448, "Side of the square that the network sees, in pixels.", group="data", minimum=32, maximum=1024
    )
    resize: int | None = setting(
        None,
        "Side to which images are resized before the crop; by default 8/7 of the image size (512 for 448).",
        group="data",
        minimum=32,
        maximum=2048,
        paper="512",
    )
    flip: bool = setting(True, "Flip each training image left to right with probability 1/2.", group="data")
    train_per_class: int | None = setting(
        None, "Use at most this many training images of each class; by default all.", group="data", minimum=1
    )
    test_per_class: int | None = setting(
        None, "Use at most this many test images of each class; by default all.", group="data", minimum=1
    )
    test_fraction: float = setting(
        0.3, "Share of test images where a folder has no split of its own.", group="data", minimum=0.01, maximum=0.99
    )
    split: str = setting(
        "content",
        "How that share is drawn: content puts each image by its own pixels, so that images added later move no other "
        "one; stratified takes the exact share of each class, anew for every collection.",
        group="data",
        options=("content", "stratified"),
    )
    test_on: str = setting(
        "test",
        "Split of a folder that is tested on: test (val where there is no other), or val; the other is left out.",
        group="data",
        options=("test", "val"),
    )
    split_seed: int = setting(0, "Seed of that split and of the two limits per class.", group="data", minimum=0)

    # What learns
    method: str = setting("pmr", "Training method.", group="model", options="method")
    backbone: str = setting(
        "mobilenet_v2",
        "Network that makes the five stage maps; timm:NAME is one of timm's.",
        group="model",
        options="backbone",
    )
    weights: str = setting(
        "imagenet",
        "Weights to start from: imagenet (downloaded by torchvision or timm), none (from scratch: every layer counts "
        "as new), or a file (safetensors or torch.save's; where in it the network's names fit is found out).",
        group="model",
    )
    weights_part: str | None = setting(
        None,
        "Where in the file the weights are, if they are there several times, such as state_dict_ema or "
        "module.encoder_q.",
        group="model",
    )
    stem_stride: int = setting(
        2,
        "Stride of the backbone's first convolution; 1, as in the released code, makes every map twice as large.",
        group="model",
        minimum=1,
        maximum=2,
    )
    start_from: str | None = setting(
        None,
        "Training run whose model is the start: all its weights, with this run's own recipe. The starting weights then "
        "only say whether the backbone counts as pre-trained.",
        group="model",
    )
    stage_num: int = setting(3, "StageNum: how many of the last stages take part.", group="model", minimum=1, maximum=5)
    smooth_conv: str = setting(
        "paper",
        "Smooth conv block: the paper's 3×3, or depthwise 3×3 + pointwise 1×1 (this project's mobile form).",
        group="model",
        options="smooth conv",
    )
    bn_momentum: float = setting(
        0.1,
        "Weight of each batch in the running statistics of the smooth convs' BatchNorm; 0.01 in the released code.",
        group="model",
        minimum=0.0,
        maximum=1.0,
    )
    channels: int | None = setting(
        None,
        "c: channels of each stage's feature vector; by default half of the last stage's.",
        group="model",
        minimum=2,
        maximum=8192,
    )
    hidden: int | None = setting(
        None,
        "h: hidden channels of smooth convs, MLP and classifiers; by default c/2.",
        group="model",
        minimum=1,
        maximum=8192,
    )
    dropout: float = setting(0.5, "Dropout inside the mapping MLP f_m.", group="model", minimum=0.0, maximum=0.95)
    mix: str = setting(
        "logits",
        "What Eq. 8 adds: logits, or softmax probabilities (its literal reading).",
        group="model",
        options=("logits", "probabilities"),
    )
    projection: int = setting(
        8192, "Channels to which HBP projects each late layer.", group="model", minimum=2, maximum=65536
    )
    confusion: float = setting(
        10.0, "λ of PC: the weight of its pairwise confusion.", group="model", minimum=0.0, maximum=1000.0
    )

    # The augmentation of each phase
    augmentation: str | None = setting(
        None,
        "Augmentation of the progressive phases; by default the method's own.",
        group="augmentation",
        options="augmentation",
    )
    permutation: str = setting(
        "uniform",
        "How patches are permuted: uniformly over all orders, or by one cycle through all places, so that none stays.",
        group="augmentation",
        options=("uniform", "cycle"),
    )
    per_image: bool = setting(
        True, "Draw a layout (a box, a λ) for each image; else one for the whole batch.", group="augmentation"
    )
    nested: bool = setting(
        False, "Let the phases of one image share their first recursions, as Fig. 3 draws them.", group="augmentation"
    )

    # The recipe
    epochs: int = setting(150, "Passes over the training images.", group="recipe", minimum=1, maximum=100_000)
    batch_size: int = setting(32, "Images in a batch.", group="recipe", minimum=2, maximum=4096)
    lr_pretrained: float = setting(1e-4, "Learning rate of pre-trained layers.", group="recipe", minimum=0.0)
    lr_new: float = setting(1e-3, "Learning rate of new layers.", group="recipe", minimum=0.0)
    schedule: str = setting(
        "cosine",
        "Learning rates over training: a cosine from 1 to 0, or the released code's, whose period counts images while "
        "its steps count batches, so that rates hardly fall (to 99.8 % with batches of 32).",
        group="recipe",
        options=("cosine", "released"),
    )
    momentum: float = setting(0.9, "Momentum of SGD.", group="recipe", minimum=0.0, maximum=0.9999)
    weight_decay: float = setting(5e-4, "Weight decay.", group="recipe", minimum=0.0, maximum=1.0)
    frozen_epochs: int = setting(
        5, "Epochs at the start in which a pre-trained backbone gets no gradients.", group="recipe", minimum=0
    )
    concat_weight: float = setting(1.0, "Loss weight of the concat phase.", group="recipe", minimum=0.0, maximum=100.0)
    heads: str = setting(
        "all",
        "Which classifiers run in a training phase: all (their BatchNorm then sees raw images too), or the "
        "phase's own.",
        group="recipe",
        options=("all", "phase"),
    )
    precision: str = setting(
        "float32",
        "What the network computes in. float32 is the reference; on a GPU bfloat16 or float16 are faster, and round.",
        group="speed",
        options=("float32", "bfloat16", "float16"),
    )
    compile: bool = setting(
        False, "Compile the backbone with torch.compile, for a GPU; on a CPU, steps get slower.", group="speed"
    )
    devices: int = setting(
        1,
        "Processes that share each batch, each on a GPU of its own (or on CPUs): BatchNorm sees a share at a time.",
        group="speed",
        minimum=1,
        maximum=64,
    )
    sync_bn: bool = setting(False, "Let BatchNorm see the whole batch where several GPUs share it.", group="speed")
    checkpoint_every_s: float = setting(
        300.0,
        "Seconds between checkpoints within an epoch; one is written at the end of each epoch, and at a stop, too.",
        group="speed",
        minimum=0.0,
    )
    evaluate_every: int = setting(
        1,
        "Epochs between evaluations on the test images; the last epoch is always evaluated.",
        group="recipe",
        minimum=1,
    )

    trackers: tuple[str, ...] = setting(
        ("tensorboard",),
        "Programs that get the metrics too; metrics.jsonl is always written.",
        group="run",
        options="tracker",
    )

    @property
    def resize_to(self) -> int:
        """Side, in pixels, to which images are resized before the crop."""
        return self.resize if self.resize is not None else resize_for(self.image_size)

    def located(self) -> Self:
        """Return the config with ``data`` and ``weights`` as absolute paths."""
        places = {"data": self.data, "weights": None if self.weights in WEIGHT_WORDS else self.weights}
        return self.with_(**{name: str(expanded(place).absolute()) for name, place in places.items() if place})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resize_to < self.image_size:
            raise ConfigError(
                f"resize = {self.resize} is below image_size = {self.image_size}: a crop cannot be larger than the "
                "image. Raise resize, or leave it out.",
                fixes=[Fix("Resize as usual", {"resize": None})],
            )
