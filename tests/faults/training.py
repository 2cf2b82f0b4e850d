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


def of_loss(loss: str) -> str:
    """The section with a loss alone."""
    return train("{sgd: {lr: 0.1}}", loss)


SMOOTH = of_loss("{cross_entropy: {label_smoothing: 0.2}}")
SOFT = of_loss("{cross_entropy: {targets: probabilities}}")
CLASSES = "{label_smoothing: 0.2, class_weights: [1, 2, 0.5, 3], weight_norm: sum_w}"
WEIGHTED = of_loss(f"{{cross_entropy: {CLASSES}}}")
BINARY = of_loss("{binary_cross_entropy: {label_smoothing: 0.2, pos_weight: [1, 2, 0.5, 3]}}")
YES = of_loss("binary_cross_entropy")
ABSOLUTE = of_loss("mean_absolute_error")
HUBER = of_loss("{huber: {delta: 0.4}}")
HINGE = of_loss("hinge")
SQUARED_HINGE = of_loss("squared_hinge")
MULTI_MARGIN = of_loss("multi_margin")
KL = of_loss("kl_divergence")

FAULTS = (
    Fault("betas rounded through float32", TORCH, NET, "betas=(0.9, 0.999)",
          "betas=(0.8999999761581421, 0.9990000128746033)", STEPS, train=ADAM),
    Fault("betas rounded through float32", KERAS, NET, "Adam(0.01, betas=(0.9, 0.999)",
          "Adam(0.01, betas=(0.8999999761581421, 0.9990000128746033)", STEPS, train=ADAM),
    Fault("eps a tenth", TORCH, NET, "eps=1e-08", "eps=1e-09", STEPS, train=ADAM),
    Fault("eps not beside the corrected root", KERAS, NET, "self.epsilon * root", "self.epsilon",
          STEPS, train=ADAM),
    Fault("eps inside the root", NUMPY, NET,
          "np.sqrt(v, out=change)\n        change /= math.sqrt(1 - beta2**t)\n"
          "        change += self.eps",
          "np.sqrt(v + self.eps**2, out=change)\n        change /= math.sqrt(1 - beta2**t)",
          STEPS, train=ADAM),
    Fault("bias correction one step ahead", KERAS, NET, "self.iterations + 1",
          "self.iterations + 2", STEPS, train=ADAM),
    Fault("bias correction one step ahead", NUMPY, NET, "self.steps.get(name, 0) + 1",
          "self.steps.get(name, 1) + 1", STEPS, train=ADAM),
    Fault("decay decoupled", TORCH, NET, "torch.optim.Adam(", "torch.optim.AdamW(",
          STEPS, train=DECAYED),
    Fault("decay decoupled", KERAS, NET, "gradient = gradient + decay * variable",
          "self.assign_sub(variable, rate * decay * variable)",
          STEPS, train=DECAYED),
    Fault("decay doubled, as of the square without its half", TORCH, NET, "weight_decay=0.1",
          "weight_decay=0.2", STEPS, train=DECAY),
    Fault("biases do not decay", NUMPY, NET, "bool(decay) and not",
          "p.ndim > 1 and bool(decay) and not", STEPS, train=DECAY),
    Fault("the learning rate inside the buffer", NUMPY, NET,
          "if b is None:\n"
          "            b = self.buffers[name] = gradient.copy()\n"
          "        else:\n"
          "            b *= self.momentum\n"
          "            b += (1 - self.dampening) * gradient if self.dampening else gradient\n"
          "        return rate * (gradient + self.momentum * b if self.nesterov else b)",
          "b = rate * gradient + (0 if b is None else self.momentum * b)\n"
          "        self.buffers[name] = b\n"
          "        return b",
          STEPS, train=MOMENTUM),
    Fault("the learning rate inside the buffer", KERAS, NET,
          "self.assign(buffer, self.momentum * buffer + share * gradient)",
          "self.assign(buffer, self.momentum * buffer + rate * share * gradient)",
          STEPS, train=MOMENTUM),
    Fault("momentum without Nesterov", TORCH, NET, ", nesterov=True", "", STEPS, train=NESTEROV),
    Fault("Nesterov without its factor", NUMPY, NET, "gradient + self.momentum * b",
          "gradient + b",
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
    Fault("labels smoothed in the gradient alone, among probabilities", NUMPY, NET,
          "losses = -terms * log_p", "losses = -w * q * log_p", STEPS, ".loss", train=SMOOTH),
    Fault("labels smoothed in the loss alone", NUMPY, NET,
          "terms.sum(1, keepdims=True) - terms", "(w * q).sum(1, keepdims=True) - w * q",
          STEPS, train=SMOOTH),
    Fault("smoothing over the other classes alone", KERAS, NET,
          "label_smoothing / targets.shape[-1]", "label_smoothing / (targets.shape[-1] - 1)",
          STEPS, ".loss", train=SMOOTH),
    Fault("class weights not in the denominator", NUMPY, NET,
          'np.sum(w * q) if weight_norm == "sum_w" else q[:, 0].size', "q[:, 0].size",
          STEPS, ".loss", train=WEIGHTED),
    Fault("class weights not in the denominator", TORCH, NET, '"sum_w", label_smoothing',
          '"batch", label_smoothing', STEPS, ".loss", train=WEIGHTED),
    Fault("class weights not in the denominator", KERAS, NET, "ops.sum(weights * targets)",
          "ops.sum(targets)", STEPS, ".loss", train=WEIGHTED),
    Fault("the denominator's weights are smoothed", KERAS, NET, "ops.sum(weights * targets)",
          "ops.sum(weights * smoothed)", STEPS, ".loss", train=WEIGHTED),
    Fault("class weights of the label alone where it is smoothed", NUMPY, NET,
          "terms = w * ((1 - label_smoothing) * q + label_smoothing / q.shape[1])",
          "terms = (1 - label_smoothing) * w * q + label_smoothing / q.shape[1]", STEPS, ".loss",
          train=WEIGHTED),
    Fault("probabilities counted by channels", TORCH, MAP, "targets[:, 0].numel()",
          "targets.numel()", STEPS, ".loss", train=SOFT),
    Fault("the largest probability for all of them", KERAS, NET, "* ops.log_softmax(outputs)",
          "* ops.log(ops.softmax(outputs) + 1e-07)", STEPS, ".loss", train=SOFT),
    Fault("the weight of yes on no", NUMPY, NET, "yes, no = by_channel(pos_weight, z) * t, 1 - t",
          "yes, no = t, by_channel(pos_weight, z) * (1 - t)", STEPS, ".loss", train=BINARY),
    Fault("the weight of yes on no", KERAS, NET,
          "weights * smoothed * ops.softplus(-outputs) + (1 - smoothed)",
          "smoothed * ops.softplus(-outputs) + weights * (1 - smoothed)", STEPS, ".loss",
          train=BINARY),
    Fault("the weights of yes along another axis", TORCH, MAP.replace("3, kernel: 3", "4, kernel: "
          "[9, 5]"), "targets.movedim(1, -1),\n        pos_weight=outputs.new_tensor(pos_weight)",
          "targets.movedim(1, -1),\n        pos_weight=outputs.new_tensor(pos_weight)[:, None]",
          STEPS, ".loss", train=BINARY),
    Fault("smoothing towards yes", TORCH, NET, "label_smoothing / 2", "label_smoothing",
          STEPS, ".loss", train=BINARY),
    Fault("a binary cross entropy over samples alone", TORCH, NET, "targets.numel()",
          "len(targets)", STEPS, ".loss", train=YES),
    Fault("a sigmoid in front of the loss that has its own", KERAS, NET,
          "binary_cross_entropy(outputs, targets)}",
          "binary_cross_entropy(ops.sigmoid(outputs), targets)}", STEPS, ".loss", train=YES),
    Fault("the sign of an absolute error the other way round", NUMPY, NET, "np.sign(difference)",
          "-np.sign(difference)", STEPS, train=ABSOLUTE),
    Fault("absolute errors squared", TORCH, NET, "F.l1_loss", "F.mse_loss", STEPS, ".loss",
          train=ABSOLUTE),
    Fault("Huber's delta forgotten", TORCH, NET, "delta=0.4", "delta=1.0", STEPS, ".loss",
          train=HUBER),
    Fault("Huber's delta forgotten", NUMPY, NET, "delta=0.4", "delta=1.0", STEPS, ".loss", 2,
          train=HUBER),
    Fault("Huber's gradient not clipped", NUMPY, NET,
          "(np.sum(gradient * (difference - gradient / 2)), y.size), gradient",
          "(np.sum(gradient * (difference - gradient / 2)), y.size), difference", STEPS,
          train=HUBER),
    Fault("Huber's loss divided by delta", TORCH, NET, "F.huber_loss(outputs, targets, "
          'reduction="sum", delta=0.4)', 'F.smooth_l1_loss(outputs, targets, reduction="sum", '
          "beta=0.4)", STEPS, ".loss", train=HUBER),
    Fault("a hinge without its margin", KERAS, NET, "ops.relu(1 - targets", "ops.relu(0 - targets",
          STEPS, ".loss", train=HINGE),
    Fault("a hinge without its margin", TORCH, NET, "F.relu(1 - targets", "F.relu(0 - targets",
          STEPS, ".loss", train=HINGE),
    Fault("the factor 2 of a squared hinge's gradient", NUMPY, NET, "-2 * sign", "-sign",
          STEPS, train=SQUARED_HINGE),
    Fault("a hinge that is not squared", TORCH, NET, ".square()", "", STEPS, ".loss",
          train=SQUARED_HINGE),
    Fault("the true class counted", NUMPY, NET, "    np.put_along_axis(losses, index, 0, 1)\n", "",
          STEPS, ".loss", train=MULTI_MARGIN),
    Fault("the true class counted", KERAS, NET, " + outputs) * (1 - label)", " + outputs)",
          STEPS, ".loss", train=MULTI_MARGIN),
    Fault("margins not divided by the channels", KERAS, NET,
          "ops.sum(losses) / outputs.shape[-1]", "ops.sum(losses)", STEPS, ".loss",
          train=MULTI_MARGIN),
    Fault("squared margins", TORCH, NET, 'targets.flatten(), reduction="sum"',
          'targets.flatten(), p=2, reduction="sum"', STEPS, ".loss", train=MULTI_MARGIN),
    Fault("a divergence divided by the channels too", TORCH, NET, "targets[:, 0].numel()",
          "targets.numel()", STEPS, ".loss", train=KL),
    Fault("a divergence divided by the channels too", KERAS, NET, "ops.size(targets[..., 0])",
          "ops.size(targets)", STEPS, ".loss", train=KL),
    Fault("a divergence without the entropy of its targets", NUMPY, NET, "special.xlogy(q, q) - ",
          "-", STEPS, ".loss", train=KL),
    Fault("probabilities in the place of their logarithms", TORCH, NET,
          "F.log_softmax(outputs, 1)", "F.softmax(outputs, 1)", STEPS, ".loss", train=KL),
)  # fmt: skip
