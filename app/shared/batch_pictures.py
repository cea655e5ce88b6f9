"""A batch of a training run in each of its phases, as the Train and Mosaic pages show it."""

from dataclasses import dataclass

from app.shared.cached_data import open_set
from app.shared.memory import once, require_room
from app.shared.work import LONG
from pmsi.config import TrainConfig
from pmsi.data.dataset import Dataset
from pmsi.methods import resolve
from pmsi.pictures.encoding import jpeg
from pmsi.pictures.phases import FIELDS, batch_by_phase, pictures, target_text


@dataclass(frozen=True)
class SeenPhase:
    """One phase of a batch: its head, r, its weight in the loss; for each image a JPEG, and what it counts as.

    ``weighed`` is false where the labels' weights depend on a model in training, which is not there.
    """

    head: str
    r: int
    weight: float
    images: tuple[bytes, ...]
    words: tuple[str, ...]
    weighed: bool


def seen_phases(config: TrainConfig, dataset: Dataset, epoch: int, batch: int, most: int, side: int) -> list[SeenPhase]:
    """Return the first ``most`` images of a batch in each phase, at most ``side`` pixels wide."""
    found = []
    for shown in batch_by_phase(config, dataset, epoch, batch):
        images = pictures(shown, most)
        for image in images:
            image.thumbnail((side, side))
        words = tuple(target_text(shown, dataset.classes, number) for number in range(len(images)))
        phase, encoded = shown.phase, tuple(jpeg(image) for image in images)
        found.append(SeenPhase(phase.head, phase.r, phase.weight, encoded, words, not shown.weights_need_model))
    return found


def batch_once(config: TrainConfig, epoch: int = 0, batch: int = 0, *, most: int, side: int) -> list[SeenPhase]:
    """Return a batch of a run, phase by phase, made once for all configs that show the same."""
    fields = {name: getattr(config, name) for name in FIELDS}
    config = TrainConfig(**fields)
    config = config.with_(epochs=max(config.epochs, epoch + 1))  # how many there are changes nothing in one of them
    dataset = open_set(config)
    phases = len(resolve(config).phases)
    require_room(3 * config.batch_size * config.image_size**2 * (phases + 2), f"A batch of {config.batch_size} images")
    return once(
        ("batch", *fields.values(), epoch, batch, most, side),
        lambda: seen_phases(config, dataset, epoch, batch, most, side),
        line=LONG,
        doing="Making the batch…",
        ttl=600,
    )
