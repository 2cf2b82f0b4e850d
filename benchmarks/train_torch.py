"""Training in PyTorch through cnnspec's loop, against the loop that one writes by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

import cnnspec
from benchmarks.harness import Result
from benchmarks.torch_model import LeNet
from benchmarks.training import epochs, images, reaches
from cnnspec.backends.program import Program
from cnnspec.data import Dataset
from cnnspec.graph import Graph
from cnnspec.training import Training
from cnnspec.training.losses import CrossEntropy
from cnnspec.training.optimizers import Sgd


def by_hand(
    model: nn.Module,
    scores: Callable[[torch.Tensor], torch.Tensor],
    data: Dataset,
    batch: int,
    optimizer: torch.optim.Optimizer,
) -> Callable[[], float]:
    """An epoch as in a tutorial; returns the mean loss."""
    inputs, targets = data.train.take(slice(None))
    x, y = torch.from_numpy(inputs["input"]), torch.from_numpy(targets["output"])

    def epoch() -> float:
        model.train()
        total = 0.0
        visited = torch.randperm(len(x))
        for start in range(0, len(x), batch):
            index = visited[start : start + batch]
            optimizer.zero_grad()
            loss = F.cross_entropy(scores(x[index]), y[index])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item() * len(index)
        return total / len(x)

    return epoch


def with_batch(graph: Graph, batch: int) -> Graph:
    """The same network, trained with batches of this size."""
    assert graph.training is not None
    return replace(graph, training=replace(graph.training, batch=batch))


def lenet() -> Result:
    """LeNet, Adam, batches of 128."""
    graph = with_batch(cnnspec.load("specs/lenet_keras.yaml"), 128)
    data, model = images(graph, 2048, 10), LeNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    theirs = by_hand(model, model.features, data, 128, optimizer)
    found = epochs(
        "torch LeNet, an epoch of 2,048 in batches of 128",
        "a loop by hand",
        graph,
        "torch",
        data,
        theirs,
        repeats=7,
    )
    return reaches(found, 0.97)


def resnet18() -> Result:
    """ResNet-18 on its 224x224 pixels, momentum, batches of 4; the peer trains the same module."""
    training = Training(
        losses={"output": CrossEntropy()}, optimizer=Sgd(lr=0.01, momentum=0.9), batch=4
    )
    graph = replace(cnnspec.load("specs/resnet18.yaml"), training=training)
    data = images(graph, 16, 1000)
    emitted = cnnspec.emit(graph, "torch")
    model = getattr(Program(emitted.text, "torch").run(), emitted.entry)()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    theirs = by_hand(model, model, data, 4, optimizer)
    found = epochs(
        "torch ResNet-18, an epoch of 16 in batches of 4",
        "a loop by hand",
        graph,
        "torch",
        data,
        theirs,
        repeats=5,
    )
    return reaches(found, 0.98)


def run() -> list[Result]:
    """On one thread."""
    torch.set_num_threads(1)
    return [lenet(), resnet18()]
