"""Training: losses, optimizers, schedules, and the order of what an update does."""

from __future__ import annotations

from tests.faults.fault import KERAS, NUMPY, STEPS, TORCH, Fault

NET = (
    "- conv: {name: conv1, filters: 3, kernel: 3}\n- tanh\n- flatten\n- dense: {name: fc, units: 4}"
)
MAP = "- conv: {name: conv1, filters: 3, kernel: 3}"
BATCH = (
    "- conv: {name: conv1, filters: 3, kernel: 3, bias: false}\n- batch_norm: {name: bn}\n- tanh"
)


def train(optimizer: str, loss: str = "cross_entropy", schedule: str = "") -> str:
    """The section."""
    rest = f", schedule: {schedule}, epochs: 4" if schedule else ""
    return f"train: {{loss: {loss}, optimizer: {optimizer}{rest}}}\n"


ADAM = train("{adam: {lr: 0.01}}")
DECAYED = train("{adam: {lr: 0.01, weight_decay: 0.1}}")
HALVED = "{exponential: {gamma: 0.5, every: epoch}}"
MOMENTUM = train("{sgd: {lr: 0.1, momentum: 0.9}}", schedule=HALVED)
NESTEROV = train("{sgd: {lr: 0.1, momentum: 0.9, nesterov: true}}")
DAMPENED = train("{sgd: {lr: 0.1, momentum: 0.9, dampening: 0.5}}")
DECAY = train("{sgd: {lr: 0.1, weight_decay: 0.1}}")
SQUARED = train("{sgd: {lr: 0.1}}", loss="mean_squared_error")
MODEL = train("{sgd: {lr: 0.1}}")

FAULTS = (
    Fault("betas rounded through float32", TORCH, NET, "betas=(0.9, 0.999)",
          "betas=(0.8999999761581421, 0.9990000128746033)", STEPS, train=ADAM),
    Fault("betas rounded through float32", KERAS, NET, "betas=(0.9, 0.999), epsilon",
          "betas=(0.8999999761581421, 0.9990000128746033), epsilon", STEPS, train=ADAM),
    Fault("eps a tenth", TORCH, NET, "eps=1e-08", "eps=1e-09", STEPS, train=ADAM),
    Fault("eps not beside the corrected root", KERAS, NET, "self.epsilon * root", "self.epsilon",
          STEPS, train=ADAM),
    Fault("eps inside the root", NUMPY, NET,
          "np.sqrt(v) / math.sqrt(1 - beta2**t) + self.eps",
          "np.sqrt(v + self.eps**2) / math.sqrt(1 - beta2**t)", STEPS, train=ADAM),
    Fault("bias correction one step ahead", KERAS, NET, "self.iterations + 1",
          "self.iterations + 2", STEPS, train=ADAM),
    Fault("bias correction one step ahead", NUMPY, NET, "self.steps.get(name, 0) + 1",
          "self.steps.get(name, 1) + 1", STEPS, train=ADAM),
    Fault("decay decoupled", TORCH, NET, "torch.optim.Adam(", "torch.optim.AdamW(",
          STEPS, train=DECAYED),
    Fault("decay decoupled", KERAS, NET, "gradient = gradient + self.coupled_decay * variable",
          "self.assign_sub(variable, learning_rate * self.coupled_decay * variable)",
          STEPS, train=DECAYED),
    Fault("decay doubled, as of the square without its half", TORCH, NET, "weight_decay=0.1",
          "weight_decay=0.2", STEPS, train=DECAY),
    Fault("biases do not decay", NUMPY, NET, "if self.weight_decay else",
          "if self.weight_decay and p.ndim > 1 else", STEPS, train=DECAY),
    Fault("the learning rate inside the buffer", NUMPY, NET,
          "b = g if b is None else self.momentum * b + (1 - self.dampening) * g\n"
          "                self.buffers[name] = b\n"
          "                g = g + self.momentum * b if self.nesterov else b\n"
          "            p -= float(learning_rate) * g",
          "b = learning_rate * g + (0 if b is None else self.momentum * b)\n"
          "                self.buffers[name] = b\n"
          "                g = b\n"
          "            p -= g",
          STEPS, train=MOMENTUM),
    Fault("the learning rate inside the buffer", KERAS, NET,
          "self.assign(buffer, self.momentum * buffer + share * gradient)",
          "self.assign(buffer, self.momentum * buffer + learning_rate * share * gradient)",
          STEPS, train=MOMENTUM),
    Fault("momentum without Nesterov", TORCH, NET, ", nesterov=True", "", STEPS, train=NESTEROV),
    Fault("Nesterov without its factor", NUMPY, NET, "g + self.momentum * b", "g + b",
          STEPS, train=NESTEROV),
    Fault("dampening at the first update", KERAS, NET,
          "self.dampening * ops.cast(self.iterations > 0, variable.dtype)", "self.dampening",
          STEPS, train=DAMPENED),
    Fault("a schedule one update ahead", TORCH, NET, "(update // updates_per_epoch)",
          "((update + 1) // updates_per_epoch)", STEPS, ".learning_rate", train=MOMENTUM),
    Fault("a schedule per update instead of per epoch", KERAS, NET,
          "(update // updates_per_epoch)", "update", STEPS, ".learning_rate", train=MOMENTUM),
    Fault("a schedule in float32", NUMPY, NET, "0.1 * 0.5 **",
          "0.10000000149011612 * 0.5 **", STEPS, ".learning_rate", train=MOMENTUM),
    Fault("the loss is a mean already", TORCH, NET, 'reduction="sum"', 'reduction="mean"',
          STEPS, ".loss", train=MODEL),
    Fault("labels counted by samples instead of positions", TORCH, MAP, "targets.numel()",
          "len(targets)", STEPS, ".loss", train=MODEL),
    Fault("labels counted by samples instead of positions", KERAS, MAP, "ops.size(labels)",
          "len(labels)", STEPS, ".loss", train=MODEL),
    Fault("labels smoothed", TORCH, NET, 'reduction="sum")',
          'reduction="sum", label_smoothing=0.1)', STEPS, ".loss", train=MODEL),
    Fault("labels smoothed in the gradient alone", NUMPY, NET, "hit - 1,", "hit - 0.9,",
          STEPS, train=MODEL),
    Fault("the factor 2 of a squared error's gradient", NUMPY, NET, "2 * difference", "difference",
          STEPS, train=SQUARED),
    Fault("a softmax in front of the loss that has its own", TORCH, NET + "\n- softmax",
          "model.logits(inputs)", "model(inputs)", STEPS, ".loss", train=MODEL),
    Fault("gradients of the last update are kept", TORCH, NET, "    optimizer.zero_grad()\n", "",
          STEPS, train=MODEL),
    Fault("gradients of the last update are kept", NUMPY, NET, "    model.zero_gradients()\n", "",
          STEPS, train=MODEL),
    Fault("an update in inference mode", TORCH, BATCH, "model.train()", "model.eval()",
          STEPS, ".loss", train=MODEL),
    Fault("an update in inference mode", NUMPY, BATCH, "training=True", "training=False",
          STEPS, ".loss", train=MODEL),
)  # fmt: skip
