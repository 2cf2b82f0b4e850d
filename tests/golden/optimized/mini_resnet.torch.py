"""mini_resnet: 3x24x24 -> 10 for each sample."""

import torch
import torch.nn.functional as F
from torch import nn


class PaddedConv2d(nn.Conv2d):
    """A convolution padded differently on its sides."""

    def __init__(self, *args, pads, mode="constant", **kwargs):
        super().__init__(*args, **kwargs)
        self.pads, self.mode = pads, mode

    def forward(self, x):
        """Pad, then convolve."""
        return super().forward(F.pad(x, self.pads, self.mode))


class MiniResnet(nn.Module):
    """3x24x24 -> 10 for each sample."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1)
        self.conv3 = nn.Conv2d(16, 16, 3, padding=1)
        self.main = nn.Sequential(
            PaddedConv2d(16, 32, 3, stride=2, pads=(1, 0, 1, 0)),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 32, 3, padding=1),
        )
        self.downsample = nn.Sequential(nn.Conv2d(16, 32, 1, stride=2))
        self.fc = nn.Linear(32, 10)

        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, x):
        """Outputs."""
        x = self.conv1(x)
        stem = F.relu(x, inplace=True)
        x = self.conv2(stem)
        x = F.relu(x, inplace=True)
        x = self.conv3(x)
        x = x + stem
        x = F.relu(x, inplace=True)
        main = self.main(x)
        x = self.downsample(x)
        x = main + x
        x = F.relu(x, inplace=True)
        x = F.adaptive_avg_pool2d(x, 1)
        x = torch.flatten(x, 1)
        x = self.fc(x)
        x = F.softmax(x, dim=1)
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
