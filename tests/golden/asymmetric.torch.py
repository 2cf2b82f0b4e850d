"""asymmetric: 2x11x9 -> distances 3, map 4x2x3 for each sample."""

import math

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


class TrueConv2d(nn.Conv2d):
    """True convolution: the kernel is flipped each time it is used."""

    def __init__(self, *args, pads, mode="constant", **kwargs):
        super().__init__(*args, **kwargs)
        self.pads, self.mode = pads, mode

    def forward(self, x):
        """Pad, then convolve with the flipped kernel."""
        x = F.pad(x, self.pads, self.mode)
        kernel = self.weight.flip(2, 3)
        return F.conv2d(x, kernel, self.bias, self.stride, 0, self.dilation, self.groups)


MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}

AVG_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class PaddedMaxPool(nn.Module):
    """Max pooling over explicit pads, which count as minus infinity."""

    def __init__(self, kernel, stride, pads, dilation=1):
        super().__init__()
        self.kernel, self.stride, self.pads, self.dilation = kernel, stride, pads, dilation

    def forward(self, x):
        """Pad, then pool."""
        x = F.pad(x, self.pads, value=-math.inf)
        pool = MAX_POOL[len(self.kernel)]
        return pool(x, self.kernel, self.stride, 0, self.dilation)


class PaddedAvgPool(nn.Module):
    """Average pooling over explicit pads; `counted` of them count as elements."""

    def __init__(self, kernel, stride, pads, counted):
        super().__init__()
        self.kernel, self.stride, self.pads, self.counted = kernel, stride, pads, counted

    def forward(self, x):
        """The windows' means, made good for the elements that do not count."""
        pool = AVG_POOL[len(self.kernel)]
        ones = F.pad(torch.ones_like(x[:1, :1]), self.counted, value=1.0)
        rest = [pad - counted for pad, counted in zip(self.pads, self.counted, strict=True)]
        share = pool(F.pad(ones, rest), self.kernel, self.stride)
        return pool(F.pad(x, self.pads), self.kernel, self.stride) / share


class Rbf(nn.Module):
    """Squared distance of the input to each of its centres."""

    def __init__(self, in_features, units):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(units, in_features))

    def forward(self, x):
        """(N, features) to (N, units)."""
        return ((x[:, None, :] - self.weight) ** 2).sum(2)


class Asymmetric(nn.Module):
    """2x11x9 -> distances 3, map 4x2x3 for each sample."""

    def __init__(self):
        super().__init__()
        self.conv1 = PaddedConv2d(2, 4, (3, 4), pads=(3, 1, 0, 2), mode="reflect")
        self.conv2 = PaddedConv2d(4, 4, 3, dilation=2, groups=2, pads=(2, 2, 1, 0))
        self.act = nn.PReLU(4)
        self.max_pool1 = PaddedMaxPool((3, 3), (2, 2), (1, 1, 0, 1))
        self.avg_pool1 = PaddedAvgPool((2, 2), (1, 1), (0, 1, 0, 1), (0, 0, 0, 0))
        self.conv3 = TrueConv2d(4, 4, 2, pads=(1, 1, 1, 1))
        self.centres = Rbf(24, 3)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, x):
        """Outputs."""
        x = self.conv1(x)
        x = F.silu(x)
        x = self.conv2(x)
        x = self.act(x)
        x = self.max_pool1(x)
        x = self.avg_pool1(x)
        x = self.conv3(x)
        pooled = F.avg_pool2d(x, 2, divisor_override=1)
        x = torch.flatten(pooled, 1)
        x = self.centres(x)
        return {"distances": x, "map": pooled}

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


LOSS_WEIGHTS = {"distances": 1.0, "map": 0.25}


def loss_sum(outputs, targets):
    """Sum of the loss over a batch and its weight, for each output."""
    return {
        "distances": (
            F.mse_loss(outputs["distances"], targets["distances"], reduction="sum"),
            targets["distances"].numel(),
        ),
        "map": (
            F.mse_loss(outputs["map"], targets["map"], reduction="sum"),
            targets["map"].numel(),
        ),
    }


def make_optimizer(model):
    """The optimizer; `train_step` sets its learning rate before each update."""
    return torch.optim.SGD(model.parameters(), lr=1e-05)


def learning_rate(update, updates_per_epoch):
    """Learning rate of an update, which is counted from 0."""
    return 1e-05


def clip(gradients):
    """Gradients as the optimizer gets them: unchanged."""
    return gradients


def train_step(model, optimizer, inputs, targets, update, updates_per_epoch):
    """One update; returns the loss before it."""
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(update, updates_per_epoch)
    optimizer.zero_grad()
    losses = loss_sum(model(inputs), targets)
    loss = sum(LOSS_WEIGHTS[name] * s / w for name, (s, w) in losses.items())
    loss.backward()
    clip([p.grad for p in model.parameters() if p.grad is not None])
    optimizer.step()
    return loss.item()
