"""LeNet-5 in PyTorch and in Keras as in tutorials, five training steps of each; one script."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import keras  # isort: skip  # torch has to be imported before TensorFlow
from keras import layers

BATCH, STEPS = 32, 5


class LeNet(nn.Module):
    """LeNet-5 with a dense output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.conv3 = nn.Conv2d(16, 120, 5)
        self.fc1 = nn.Linear(120, 84)
        self.fc2 = nn.Linear(84, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 1, 32, 32) to (N, 10)."""
        x = torch.tanh(F.avg_pool2d(torch.tanh(self.conv1(x)), 2))
        x = torch.tanh(F.avg_pool2d(torch.tanh(self.conv2(x)), 2))
        x = torch.tanh(self.conv3(x)).flatten(1)
        scores: torch.Tensor = self.fc2(torch.tanh(self.fc1(x)))
        return scores


def lenet() -> keras.Model:
    """The same, channels last."""
    inputs = keras.Input((32, 32, 1))
    x = layers.Conv2D(6, 5, activation="tanh")(inputs)
    x = layers.Activation("tanh")(layers.AveragePooling2D(2)(x))
    x = layers.Conv2D(16, 5, activation="tanh")(x)
    x = layers.Activation("tanh")(layers.AveragePooling2D(2)(x))
    x = layers.Conv2D(120, 5, activation="tanh")(x)
    x = layers.Dense(84, activation="tanh")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(10)(x))


def main() -> None:
    """Build both, and train them."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(BATCH, 1, 32, 32)).astype(np.float32)
    labels = rng.integers(0, 10, BATCH)
    network = LeNet()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(torch.from_numpy(images)), torch.from_numpy(labels))
        loss.backward()  # type: ignore[no-untyped-call] # torch's own
        optimizer.step()
        print(loss.item())
    model = lenet()
    model.compile(
        keras.optimizers.SGD(0.001, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    for _ in range(STEPS):
        print(model.train_on_batch(np.moveaxis(images, 1, -1), labels))


if __name__ == "__main__":
    main()
