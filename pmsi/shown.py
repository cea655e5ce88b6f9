"""Any batch of a training run as the network sees it, phase by phase, and the batch in which an image comes.

The batch is made by the run's own loader, from the run's seed; what the phases make of it is `pmsi.firstbatch`'s.
Nothing is trained here, and no model is made.
"""

from pmsi.config import TrainConfig
from pmsi.data.dataset import Dataset
from pmsi.data.loading import TrainLoader
from pmsi.data.sampling import sampler
from pmsi.errors import ConfigError
from pmsi.firstbatch import Shown, shown_in_phases
from pmsi.methods import resolve


def shown_phases(config: TrainConfig, dataset: Dataset, epoch: int = 0, batch: int = 0) -> list[Shown]:
    """Return what the run of a config shows in batch ``batch`` of epoch ``epoch``, phase by phase; both count from 0.

    Images are resized, cropped at random, flipped and augmented as the run does it, and not yet normalised. Raises
    ConfigError where there is no such batch.
    """
    # This process makes the batch: workers change no pixel, and starting them would take longer.
    loader = TrainLoader(dataset, config.with_(workers=0), resolve(config).method.images_per_class)
    if not (0 <= epoch < config.epochs and 0 <= batch < loader.batches):
        raise ConfigError(
            f"epoch = {epoch}, batch = {batch}: this run has epochs 0 to {config.epochs - 1}, of batches 0 to "
            f"{loader.batches - 1} each."
        )
    images, labels = next(loader.epoch(epoch, batch))
    return shown_in_phases(config, images, labels, epoch=epoch, batch=batch)


def batch_keys(config: TrainConfig, dataset: Dataset, epoch: int = 0) -> list[list[str]]:
    """Return the keys of the training images of every batch of an epoch, in their order; no image is opened."""
    labels = [sample.label for sample in dataset.train]
    draw = sampler(labels, dataset.classes, config.batch_size, resolve(config).method.images_per_class)
    return [[dataset.train[index].key for index in batch] for batch in draw(config.seed, epoch)]


def place_of(key: str, batches: list[list[str]]) -> tuple[int, int] | None:
    """Return (batch, place in it) of an image among the `batch_keys` of an epoch; None where it is not shown."""
    places = {name: (number, place) for number, batch in enumerate(batches) for place, name in enumerate(batch)}
    return places.get(key)
