"""two_towers: left 1x16x16, right 1x16x16, sensors 7 -> kind 4, position 2 for each sample."""

import torch
import torch.nn.functional as F
from torch import nn


class TwoTowers(nn.Module):
    """left 1x16x16, right 1x16x16, sensors 7 -> kind 4, position 2 for each sample."""

    def __init__(self):
        super().__init__()
        self.eye = nn.Conv2d(1, 12, 3, padding=1)
        self.mix = nn.Conv2d(24, 20, 3, padding=1, padding_mode="reflect")
        self.felt = nn.Linear(7, 6)
        self.kinds = nn.Linear(26, 4)
        self.place = nn.Linear(26, 2)

        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def logits(self, left, right, sensors):
        """What the loss reads."""
        x = self.eye(left)
        x = F.gelu(x)
        left_features = F.max_pool2d(x, 2)
        x = self.eye(right)
        x = F.gelu(x)
        right_features = F.max_pool2d(x, 2)
        x = torch.cat([left_features, right_features], dim=1)
        x = self.mix(x)
        x = F.selu(x)
        x = F.adaptive_avg_pool2d(x, 1)
        seen = torch.flatten(x, 1)
        x = self.felt(sensors)
        state_of_sensors = torch.tanh(x)
        x = torch.cat([seen, state_of_sensors], dim=1)
        kinds = self.kinds(x)
        x = self.place(x)
        position = torch.sigmoid(x)
        return {"kind": kinds, "position": position}

    def forward(self, left, right, sensors):
        """Outputs."""
        outputs = self.logits(left, right, sensors)
        outputs["kind"] = F.softmax(outputs["kind"], dim=1)
        return outputs

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


LOSS_WEIGHTS = {"kind": 1.0, "position": 0.5}


def loss_sum(outputs, targets):
    """Sum of the loss over a batch and its weight, for each output."""
    return {
        "kind": (
            F.cross_entropy(outputs["kind"], targets["kind"], reduction="sum"),
            targets["kind"].numel(),
        ),
        "position": (
            F.mse_loss(outputs["position"], targets["position"], reduction="sum"),
            targets["position"].numel(),
        ),
    }


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
    losses = loss_sum(model.logits(inputs["left"], inputs["right"], inputs["sensors"]), targets)
    loss = sum(LOSS_WEIGHTS[name] * s / w for name, (s, w) in losses.items())
    loss.backward()
    clip([p.grad for p in model.parameters() if p.grad is not None])
    optimizer.step()
    return loss.item()
