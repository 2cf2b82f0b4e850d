"""lenet_modern: 1x28x28 -> 10 for each sample."""

import hashlib
import math

import torch
import torch.nn.functional as F
from torch import nn


def philox(counters, step, layer, seed):
    """Philox4x32-10: four 32-bit words, held in int64, for each counter."""
    mask = 0xFFFFFFFF
    c0, c1 = counters & mask, (counters >> 32) & mask
    c2, c3 = torch.full_like(c0, step & mask), torch.full_like(c0, layer)
    k0, k1 = seed & mask, (seed >> 32) & mask
    for _ in range(10):
        # A product of two 32-bit words wraps in int64; shift and mask still give both halves.
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (
            ((p1 >> 32) & mask) ^ c1 ^ k0,
            p1 & mask,
            ((p0 >> 32) & mask) ^ c3 ^ k1,
            p0 & mask,
        )
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return torch.stack((c0, c1, c2, c3), -1).reshape(-1)


class CounterDropout(nn.Module):
    """Dropout whose mask depends on seed, layer, step and position alone."""

    def __init__(self, p, seed):
        super().__init__()
        self.p, self.seed = p, seed
        self.layer, self.step, self.first = 0, 0, 0

    def forward(self, x):
        """In training keep each element with probability 1 - p, and scale it."""
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0.0
        size = math.prod(x.shape[1:])
        start, count = self.first * size, x.numel()
        blocks = torch.arange(start // 4, (start + count + 3) // 4, device=x.device)
        words = philox(blocks, self.step, self.layer, self.seed)
        words = words[start % 4 : start % 4 + count].reshape(x.shape)
        keep = words >= math.floor(self.p * 2**32)
        return torch.where(keep, x * (1 / (1 - self.p)), 0.0)


def name_random_layers(model):
    """Tell each random layer its path, which is part of its counter."""
    for path, module in model.named_modules():
        if isinstance(module, CounterDropout):
            digest = hashlib.blake2b(path.encode(), digest_size=4).digest()
            module.layer = int.from_bytes(digest, "little")


def set_position(model, step, first=0):
    """Set completed updates, and the index of the first sample within the global batch."""
    for module in model.modules():
        if isinstance(module, CounterDropout):
            module.step, module.first = step, first


SEED = 0


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
        self.dropout1 = CounterDropout(0.5, SEED)
        self.fc2 = nn.Linear(500, 10)

        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        name_random_layers(self)

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
    set_position(model, update)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(update, updates_per_epoch)
    optimizer.zero_grad()
    losses = loss_sum(model.logits(inputs), targets)
    loss = sum(s / w for s, w in losses.values())
    loss.backward()
    clip([p.grad for p in model.parameters() if p.grad is not None])
    optimizer.step()
    return loss.item()
