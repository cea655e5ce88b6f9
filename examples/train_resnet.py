"""Train a plain torchvision ResNet on folders of images with the recursive mosaics of Algorithm 1.

    python examples/train_resnet.py FOLDER [EPOCHS]

FOLDER holds a folder of images for each class. Needs pmsi-lab alone.
"""

import sys

import torch
from torch.nn.functional import cross_entropy
from torchvision import datasets, models
from torchvision.transforms import v2

from pmsi import ProgressiveMosaic


def train(folder: str, epochs: int = 10, size: int = 224, batch_size: int = 32) -> torch.nn.Module:
    """Return a ResNet-18 trained from scratch on class folders; ``size`` is a multiple of 8."""
    to_image = [v2.ToImage(), v2.RandomResizedCrop(size), v2.RandomHorizontalFlip(), v2.ToDtype(torch.float32, True)]
    data = datasets.ImageFolder(folder, v2.Compose(to_image))
    loader = torch.utils.data.DataLoader(data, batch_size, shuffle=True, drop_last=True)
    model = models.resnet18(num_classes=len(data.classes))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    progressive = ProgressiveMosaic(stage_num=3)

    for epoch in range(epochs):
        losses = {}
        for images, labels in loader:
            for r, mosaics in progressive(images):  # r = 3, 2, 1, 0: from the finest patches to the whole image
                loss = cross_entropy(model(mosaics), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses[r] = loss.item()
        print(f"epoch {epoch + 1}: " + ", ".join(f"r = {r}: {loss:.3f}" for r, loss in losses.items()))
    return model


if __name__ == "__main__":
    train(sys.argv[1], *map(int, sys.argv[2:3]))
