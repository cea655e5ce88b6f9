"""TrainConfig: the settings of training, each with its default, range, help text and the paper's value.

Defaults are those of the paper's section IV-A. Names (of a method, a backbone, …) are looked up in their tables when
the config is used.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

from pmsi.base.errors import ConfigError, Fix
from pmsi.base.files import expanded
from pmsi.config.declare import Config, setting

# A field's group is a tab of the form, and a section of the help.
_data = partial(setting, group="data")
_model = partial(setting, group="model")
_augmentation = partial(setting, group="augmentation")
_recipe = partial(setting, group="recipe")
_speed = partial(setting, group="speed")
_run = partial(setting, group="run")

SPLIT_FIELDS = (
    "dataset", "data", "name_encoding", "label_column", "test_fraction", "split", "test_on", "split_seed", "held_out"
)  # fmt: skip
"""Fields that decide which images a data set has, and on which side of its split each is."""

DATA_FIELDS = (*SPLIT_FIELDS, "train_per_class", "test_per_class", "validation")
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
    dataset: str = _data("plumage", "Data set.", options="data set", paper="cub")
    data: str | None = _data(None, "Folder of the data set, where it is not built in, or a zip or tar of it.")
    name_encoding: str | None = _data(
        None, "Encoding of names in a zip or list that does not say it, such as gbk or cp437."
    )
    label_column: str | None = _data(
        None, "Column with the classes, where a list of images, such as labels.csv, has several."
    )
    image_size: int = _data(448, "Side of the square that the network sees, in pixels.", between=(32, 1024))
    resize: int | None = _data(
        None,
        "Side to which images are resized before the crop; by default 8/7 of the image size (512 for 448).",
        between=(32, 2048),
        paper="512",
    )
    flip: bool = _data(True, "Flip each training image left to right with probability 1/2.")
    train_per_class: int | None = _data(
        None, "Use at most this many training images of each class; by default all.", minimum=1
    )
    test_per_class: int | None = _data(
        None, "Use at most this many test images of each class; by default all.", minimum=1
    )
    test_fraction: float = _data(
        0.3, "Share of test images where a folder has no split of its own.", between=(0.01, 0.99)
    )
    split: str = _data(
        "content",
        "How that share is drawn: content puts each image by its own pixels, so that images added later move no other "
        "one; stratified takes the exact share of each class, anew for every collection.",
        options=("content", "stratified"),
    )
    test_on: str = _data(
        "test",
        "Split of a folder that is tested on: test (val where there is no other), or val; the other is left out.",
        options=("test", "val"),
    )
    split_seed: int = _data(0, "Seed of that split, of the validation part and of the limits per class.", minimum=0)
    validation: float = _data(
        0.0,
        "Share of each class's training images that is held back: the best epoch, temperatures and thresholds are "
        "chosen on it, not on the test images.",
        between=(0.0, 0.5),
    )
    held_out: tuple[str, ...] = _data(
        (), "Classes that are left out of training and tests, to see what the model says of unknowns."
    )

    # What learns
    method: str = _model("pmr", "Training method.", options="method")
    backbone: str = _model(
        "mobilenet_v2", "Network that makes the five stage maps; timm:NAME is one of timm's.", options="backbone"
    )
    weights: str = _model(
        "imagenet",
        "Weights to start from: imagenet (downloaded by torchvision or timm), none (from scratch: every layer counts "
        "as new), or a file (safetensors or torch.save's; where in it the network's names fit is found out).",
    )
    weights_part: str | None = _model(
        None,
        "Where in the file the weights are, if they are there several times, such as state_dict_ema or "
        "module.encoder_q.",
    )
    stem_stride: int = _model(
        2,
        "Stride of the backbone's first convolution; 1, as in the released code, makes every map twice as large.",
        between=(1, 2),
    )
    start_from: str | None = _model(
        None,
        "Training run whose model is the start: all its weights, with this run's own recipe. The starting weights then "
        "only say whether the backbone counts as pre-trained.",
    )
    stage_num: int = _model(3, "StageNum: how many of the last stages take part.", between=(1, 5))
    smooth_conv: str = _model(
        "paper",
        "Smooth conv block: the paper's 3×3, or depthwise 3×3 + pointwise 1×1 (this project's mobile form).",
        options="smooth conv",
    )
    bn_momentum: float = _model(
        0.1,
        "Weight of each batch in the running statistics of the smooth convs' BatchNorm; 0.01 in the released code.",
        between=(0.0, 1.0),
    )
    channels: int | None = _model(
        None, "c: channels of each stage's feature vector; by default half of the last stage's.", between=(2, 8192)
    )
    hidden: int | None = _model(
        None, "h: hidden channels of smooth convs, MLP and classifiers; by default c/2.", between=(1, 8192)
    )
    dropout: float = _model(0.5, "Dropout inside the mapping MLP f_m.", between=(0.0, 0.95))
    mix: str = _model(
        "logits",
        "What Eq. 8 adds: logits, or softmax probabilities (its literal reading).",
        options=("logits", "probabilities"),
    )
    projection: int = _model(8192, "Channels to which HBP projects each late layer.", between=(2, 65536))
    confusion: float = _model(10.0, "λ of PC: the weight of its pairwise confusion.", between=(0.0, 1000.0))

    # The augmentation of each phase
    augmentation: str | None = _augmentation(
        None, "Augmentation of the progressive phases; by default the method's own.", options="augmentation"
    )
    permutation: str = _augmentation(
        "uniform",
        "How patches are permuted: uniformly over all orders, or by one cycle through all places, so that none stays.",
        options=("uniform", "cycle"),
    )
    per_image: bool = _augmentation(True, "Draw a layout (a box, a λ) for each image; else one for the whole batch.")
    nested: bool = _augmentation(
        False, "Let the phases of one image share their first recursions, as Fig. 3 draws them."
    )

    # The recipe
    epochs: int = _recipe(150, "Passes over the training images.", between=(1, 100_000))
    batch_size: int = _recipe(32, "Images in a batch.", between=(2, 4096))
    lr_pretrained: float = _recipe(1e-4, "Learning rate of pre-trained layers.", minimum=0.0)
    lr_new: float = _recipe(1e-3, "Learning rate of new layers.", minimum=0.0)
    schedule: str = _recipe(
        "cosine",
        "Learning rates over training: a cosine from 1 to 0, or the released code's, whose period counts images while "
        "its steps count batches, so that rates hardly fall (to 99.8 % with batches of 32).",
        options=("cosine", "released"),
    )
    momentum: float = _recipe(0.9, "Momentum of SGD.", between=(0.0, 0.9999))
    weight_decay: float = _recipe(5e-4, "Weight decay.", between=(0.0, 1.0))
    frozen_epochs: int = _recipe(5, "Epochs at the start in which a pre-trained backbone gets no gradients.", minimum=0)
    concat_weight: float = _recipe(1.0, "Loss weight of the concat phase.", between=(0.0, 100.0))
    heads: str = _recipe(
        "all",
        "Which classifiers run in a training phase: all (their BatchNorm then sees raw images too), or the "
        "phase's own.",
        options=("all", "phase"),
    )
    precision: str = _speed(
        "float32",
        "What the network computes in. float32 is the reference; on a GPU bfloat16 or float16 are faster, and round.",
        options=("float32", "bfloat16", "float16"),
    )
    compile: bool = _speed(False, "Compile the backbone with torch.compile, for a GPU; on a CPU, steps get slower.")
    devices: int = _speed(
        1,
        "Processes that share each batch, each on a GPU of its own (or on CPUs): BatchNorm sees a share at a time.",
        between=(1, 64),
    )
    sync_bn: bool = _speed(False, "Let BatchNorm see the whole batch where several GPUs share it.")
    checkpoint_every_s: float = _speed(
        300.0,
        "Seconds between checkpoints within an epoch; one is written at the end of each epoch, and at a stop, too.",
        minimum=0.0,
    )
    evaluate_every: int = _recipe(
        1, "Epochs between evaluations on the test images; the last epoch is always evaluated.", minimum=1
    )

    theatre: bool = _run(
        True,
        "Keep what six test images are answered, and their maps, after up to 16 epochs, for the run's page "
        "(0.25 MB at most).",
    )
    trackers: tuple[str, ...] = _run(
        ("tensorboard",), "Programs that get the metrics too; metrics.jsonl is always written.", options="tracker"
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
