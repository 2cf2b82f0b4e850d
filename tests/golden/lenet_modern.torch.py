"""lenet_modern: 1x28x28 -> 10 for each sample."""

import torch
import torch.nn.functional as F
from torch import nn


class LenetModern(nn.Module):
    """1x28x28 -> 10 for each sample."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5, bias=False)
        self.bn1 = nn.BatchNorm2d(20)
        self.act = nn.PReLU()
        self.conv2 = nn.Conv2d(20, 50, 5, bias=False)
        self.bn2 = nn.BatchNorm2d(50)
        self.fc1 = nn.Linear(800, 500, bias=False)
        self.bn3 = nn.BatchNorm1d(500)
        self.dropout1 = nn.Dropout(0.5)
        self.fc2 = nn.Linear(500, 10)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def logits(self, x):
        """What the loss reads."""
        x = self.conv1(x)
        x = self.bn1(x)
        x = self.act(x)
        x = F.max_pool2d(x, 2)
        x = self.conv2(x)
        x = self.bn2(x)
        x = self.act(x)
        x = F.max_pool2d(x, 2)
        x = torch.flatten(x, 1)
        x = self.fc1(x)
        x = self.bn3(x)
        x = self.act(x)
        x = self.dropout1(x)
        x = self.fc2(x)
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
    return torch.optim.Adam(model.parameters(), lr=0.001, betas=(0.9, 0.999), eps=1e-08)


def learning_rate(update, updates_per_epoch):
    """Learning rate of an update, which is counted from 0."""
    return 0.001


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
