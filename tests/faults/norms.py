"""Norms: where eps stands, which axes, running statistics, missing terms."""

from __future__ import annotations

from tests.faults.fault import KERAS, NUMPY, TORCH, Fault

BATCH = "- conv: {name: conv1, filters: 4, kernel: 3, bias: false}\n- batch_norm: {name: bn}"
BIASED = BATCH.replace("{name: bn}", "{name: bn, running_var: biased}")
FOUR = "- conv: {name: conv1, filters: 4, kernel: 3}\n"
LAYER = FOUR + "- layer_norm: {name: norm}"
GROUP = FOUR + "- group_norm: {name: norm, groups: 2}"
INSTANCE = FOUR + "- instance_norm: {name: norm}"
RESPONSE = FOUR + "- local_response_norm: {name: norm, size: 4, alpha: 0.1}"

FAULTS = (
    Fault(
        "eps outside the root",
        NUMPY, BATCH, "np.sqrt(variance + self.eps)", "(np.sqrt(variance) + self.eps)",
        "bn", "forward",
    ),
    Fault(
        "eps outside the root",
        KERAS, BATCH, "ops.sqrt(variance + self.epsilon)",
        "(ops.sqrt(variance) + self.epsilon)", "bn", "forward",
    ),
    Fault(
        "eps of Keras, 1e-3",
        TORCH, BATCH, "nn.BatchNorm2d(4)", "nn.BatchNorm2d(4, eps=1e-3)", "bn", "forward",
    ),
    Fault(
        "momentum in the other direction",
        TORCH, BATCH, "nn.BatchNorm2d(4)", "nn.BatchNorm2d(4, momentum=0.9)",
        "bn", "running_statistics",
    ),
    Fault(
        "momentum in the other direction",
        KERAS, BATCH, "BatchNorm(momentum=0.9", "BatchNorm(momentum=0.1",
        "bn", "running_statistics",
    ),
    Fault(
        "the old statistics are forgotten",
        NUMPY, BATCH, "(1 - self.momentum) * running +", "0 * running +",
        "bn", "running_statistics",
    ),
    Fault(
        "biased running variance",
        KERAS, BATCH, "variance * (count / (count - 1))", "variance", "bn", "running_statistics",
    ),
    Fault(
        "biased running variance",
        NUMPY, BATCH, "elements / (elements - 1) if self.unbiased else 1.0", "1.0",
        "bn", "running_statistics",
    ),
    Fault(
        "unbiased running variance where biased is meant",
        TORCH, BIASED, "BiasedBatchNorm(4, 1e-05, 0.1)", "nn.BatchNorm2d(4)",
        "bn", "running_statistics",
    ),
    Fault(
        "unbiased variance in the normalised value",
        KERAS, BATCH, "1 / ops.sqrt(variance + self.epsilon)",
        "1 / ops.sqrt((unbiased if training else variance) + self.epsilon)", "bn", "forward",
    ),
    Fault(
        "batch statistics in inference",
        TORCH, BATCH, "self.bn(x)",
        "F.batch_norm(x, None, None, self.bn.weight, self.bn.bias, True)", "bn", "forward",
    ),
    Fault(
        "training and inference exchanged",
        NUMPY, BATCH, "self.bn.forward(x, training)", "self.bn.forward(x, not training)",
        "bn", "forward",
    ),
    Fault(
        "running statistics normalise in training too",
        KERAS, BATCH, "        scale = 1 / ops.sqrt",
        "        mean, variance = self.moving_mean, self.moving_variance\n"
        "        scale = 1 / ops.sqrt",
        "bn", "forward",
    ),
    Fault(
        "the gradient of a batch's mean is missing",
        NUMPY, BATCH, "gx -= (g_bias / elements)", "gx -= (0 * g_bias)", "bn", "input_gradient",
    ),
    Fault(
        "the gradient of a scale without the normalisation",
        NUMPY, BATCH, "channel_dots(g, from_mean) * inverse", "channel_dots(g, from_mean)",
        "bn", "parameter_gradient",
    ),
    Fault(
        "layer norm without channels",
        TORCH, LAYER, "self.norm(x)",
        "F.layer_norm(x, (7, 6)) * self.norm.weight + self.norm.bias", "norm", "forward",
    ),
    Fault(
        "layer norm without channels",
        NUMPY, LAYER, "standardise(x, axes, self.eps)", "standardise(x, axes[1:], self.eps)",
        "norm", "forward",
    ),
    Fault(
        "eps of Keras, 1e-3",
        KERAS, LAYER, "epsilon=1e-05", "epsilon=0.001", "norm", "forward",
    ),
    Fault(
        "twice as many groups",
        TORCH, GROUP, "nn.GroupNorm(2, 4)", "nn.GroupNorm(4, 4)", "norm", "forward",
    ),
    Fault(
        "half as many groups",
        KERAS, GROUP, "GroupNormalization(2", "GroupNormalization(1", "norm", "forward",
    ),
    Fault(
        "instance norm over all channels",
        TORCH, INSTANCE, "nn.InstanceNorm2d(4)", "nn.GroupNorm(1, 4, affine=False)",
        "norm", "forward",
    ),
    Fault(
        "the gradient of a variance is missing",
        NUMPY, INSTANCE, " - y * along", "", "norm", "input_gradient",
    ),
    Fault(
        "alpha not divided by size",
        TORCH, RESPONSE, "response_norm(x, 4, alpha=0.1", "response_norm(x, 4, alpha=0.4",
        "norm", "forward",
    ),
    Fault(
        "alpha not divided by size",
        KERAS, RESPONSE, "self.alpha / self.size * total", "self.alpha * total",
        "norm", "forward",
    ),
    Fault(
        "an even window reaches too far behind",
        NUMPY, RESPONSE, "x.shape[1], size // 2", "x.shape[1], (size - 1) // 2",
        "norm", "forward",
    ),
    Fault(
        "the gradient's even window on the same side",
        NUMPY, RESPONSE, "size - 1 - before", "before", "norm", "input_gradient",
    ),
)  # fmt: skip
