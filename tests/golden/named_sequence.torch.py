"""named_sequence: 3x10x9 -> 4 for each sample."""

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


class BiasedBatchNorm(nn.Module):
    """Batch norm whose running variance is the biased one."""

    def __init__(self, channels, eps, momentum, affine=True):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x):
        """Normalise; in training move the running statistics."""
        mean = self.running_mean
        var = self.running_var
        if self.training:
            axes = [axis for axis in range(x.dim()) if axis != 1]
            if x.numel() == x.shape[1]:
                raise ValueError("batch norm needs more than one value for each channel")
            moments = torch.var_mean(x, axes, correction=0)
            with torch.no_grad():
                mean.lerp_(moments[1], self.momentum)
                var.lerp_(moments[0], self.momentum)
        return nn.functional.batch_norm(
            x,
            None if self.training else mean,
            None if self.training else var,
            self.weight,
            self.bias,
            self.training,
            0.0,
            self.eps,
        )


class NamedSequence(nn.Module):
    """3x10x9 -> 4 for each sample."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("first", PaddedConv2d(3, 6, 3, stride=2, pads=(1, 1, 0, 1)))
        self.features.add_module("1", nn.ELU(0.5))
        self.features.add_module(
            "inner",
            nn.Sequential(
                nn.Conv2d(6, 8, 2, bias=False), BiasedBatchNorm(8, 0.001, 0.01), nn.LeakyReLU(0.2)
            ),
        )
        self.features.add_module("3", nn.Flatten())
        self.classifier = nn.Sequential()
        self.classifier.add_module("0", nn.Linear(128, 7))
        self.classifier.add_module("head", nn.Sequential())
        self.classifier.head.add_module("0", nn.Dropout(0.3))
        self.classifier.head.add_module("scores", nn.Linear(7, 4))
        self.classifier.head.add_module("probabilities", nn.Softmax(dim=1))

        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x):
        """Outputs."""
        return self.outputs_and_logits(x)[0]

    def logits(self, x):
        """What the loss reads."""
        return self.outputs_and_logits(x)[1]

    def outputs_and_logits(self, x):
        """Both, from one pass."""
        if x.shape[1:] != (3, 10, 9):
            raise ValueError(f"made for inputs of 3x10x9, got {tuple(x.shape[1:])}")
        x = self.features(x)
        x = 0.5 * x - 0.25
        x = self.classifier[:-1](x)
        classifier_head_head = self.classifier[-1][:-1](x)
        x = self.classifier[-1][-1](classifier_head_head)
        return x, classifier_head_head

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
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)


def learning_rate(update, updates_per_epoch):
    """Learning rate of an update, which is counted from 0."""
    return 0.05


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
