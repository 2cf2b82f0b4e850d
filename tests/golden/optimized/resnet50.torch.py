"""resnet50: 3x224x224 -> 1000 for each sample."""

import torch
import torch.nn.functional as F
from torch import nn


class Bottleneck(nn.Module):
    """Block `bottleneck`."""

    def __init__(self, in_channels, channels, stride=1, project=False):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1)
        self.conv3 = nn.Conv2d(channels, channels * 4, 1)
        if project:
            self.downsample = nn.Sequential(nn.Conv2d(in_channels, channels * 4, 1, stride=stride))
        else:
            self.downsample = nn.Identity()

    def forward(self, inputs):
        """Output of the block."""
        x = self.conv1(inputs)
        x = F.relu(x, inplace=True)
        x = self.conv2(x)
        x = F.relu(x, inplace=True)
        x = self.conv3(x)
        downsample = self.downsample(inputs)
        x = x + downsample
        x = F.relu(x, inplace=True)
        return x


class Resnet50(nn.Module):
    """3x224x224 -> 1000 for each sample."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.layer1 = nn.Sequential(
            Bottleneck(64, 64, project=True), *(Bottleneck(256, 64) for _ in range(2))
        )
        self.layer2 = nn.Sequential(
            Bottleneck(256, 128, stride=2, project=True), *(Bottleneck(512, 128) for _ in range(3))
        )
        self.layer3 = nn.Sequential(
            Bottleneck(512, 256, stride=2, project=True), *(Bottleneck(1024, 256) for _ in range(5))
        )
        self.layer4 = nn.Sequential(
            Bottleneck(1024, 512, stride=2, project=True),
            *(Bottleneck(2048, 512) for _ in range(2)),
        )
        self.fc = nn.Linear(2048, 1000)

        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, x):
        """Outputs."""
        x = self.conv1(x)
        x = F.relu(x, inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)
        x = F.adaptive_avg_pool2d(x, 1)
        x = torch.flatten(x, 1)
        x = self.fc(x)
        return x

    def load_weights(self, path):
        """Load a safetensors file."""
        from safetensors.torch import load_file

        self.load_state_dict(load_file(path))

    def save_weights(self, path):
        """Save parameters and running statistics to a safetensors file."""
        from safetensors.torch import save_file

        state = {k: v.contiguous() for k, v in self.state_dict().items()}
        state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
        save_file(state, path)
