"""FromPixels: a recogniser with uint8 input, for models that leave this program."""

import torch
from torch import Tensor, nn

from pmsi.data.preprocessing import MEAN, STD
from pmsi.model import Recognizer
from pmsi.model.batch import Images
from pmsi.model.recognizer import Outputs


class FromPixels(nn.Module):
    """A recogniser with uint8 input; ImageNet's statistics are buffers."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: Recognizer) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", 255 * torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(STD).view(3, 1, 1))

    def normalized(self, images: Images) -> Images:
        """Return (b, 3, h, w) uint8 RGB as the network's input."""
        return (images.float() - self.mean) / self.std

    def forward(self, images: Images) -> Outputs:
        outputs: Outputs = self.model(self.normalized(images))
        return outputs
