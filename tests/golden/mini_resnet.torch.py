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
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.conv3 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(16)
        self.main = nn.Sequential(
            PaddedConv2d(16, 32, 3, stride=2, bias=False, pads=(1, 0, 1, 0)),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
        )
        self.downsample = nn.Sequential(
            nn.Conv2d(16, 32, 1, stride=2, bias=False), nn.BatchNorm2d(32)
        )
        self.fc = nn.Linear(32, 10)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def logits(self, x):
        """What the loss reads."""
        x = self.conv1(x)
        x = self.bn1(x)
        stem = F.relu(x)
        x = self.conv2(stem)
        x = self.bn2(x)
        x = F.relu(x)
        x = self.conv3(x)
        x = self.bn3(x)
        x = x + stem
        x = F.relu(x)
        main = self.main(x)
        x = self.downsample(x)
        x = main + x
        x = F.relu(x)
        x = F.adaptive_avg_pool2d(x, 1)
        x = torch.flatten(x, 1)
        x = self.fc(x)
        return x

    def forward(self, x):
        """Outputs."""
        return F.softmax(self.logits(x), dim=1)

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


def loss_sum(outputs, targets):
    """Sum of the loss over a batch and its weight, for each output."""
    return {"output": (F.cross_entropy(outputs, targets, reduction="sum"), targets.numel())}


def make_optimizer(model):
    """The optimizer; `train_step` sets its learning rate before each update."""
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.0005)


def learning_rate(update, updates_per_epoch):
    """Learning rate of an update, which is counted from 0."""
    return 0.05 * 0.9 ** (update // updates_per_epoch)


def clip(gradients):
    """Gradients as the optimizer gets them: unchanged."""
    return gradients


def train_step(model, optimizer, inputs, targets, update, updates_per_epoch):
    """One update; returns the loss before it."""
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(update, updates_per_epoch)
    optimizer.zero_grad()
    losses = loss_sum(model.logits(inputs), targets)
    loss = sum(s / w for s, w in losses.values())
    loss.backward()
    clip([p.grad for p in model.parameters() if p.grad is not None])
    optimizer.step()
    return loss.item()
