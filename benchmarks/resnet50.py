"""ResNet-50 in PyTorch as people write it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

EXPANSION = 4
"""Times as many channels as in the middle of a bottleneck leave it."""


class Bottleneck(nn.Module):
    """Three convolutions beside a shortcut; the stride is that of the second, as in torchvision."""

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        after = EXPANSION * channels
        self.conv1 = nn.Conv2d(before, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, after, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        self.downsample: nn.Module | None = None
        if stride > 1 or before != after:
            conv = nn.Conv2d(before, after, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, before, H, W) to (N, 4 * channels, H / stride, W / stride)."""
        shortcut = x
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        if self.downsample is not None:
            shortcut = self.downsample(shortcut)
        return F.relu(x + shortcut)


class ResNet50(nn.Module):
    """As in the paper; its parameters have torchvision's names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        before = 64
        stages = ((64, 3), (128, 4), (256, 6), (512, 3))
        for number, (channels, count) in enumerate(stages, start=1):
            blocks = [Bottleneck(before, channels, 1 if number == 1 else 2)]
            before = EXPANSION * channels
            blocks += [Bottleneck(before, channels, 1) for _ in range(count - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Linear(before, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, 224, 224) to (N, 1000)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        scores: torch.Tensor = self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return scores
