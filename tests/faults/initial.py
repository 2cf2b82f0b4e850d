"""Initializers in the text: what a fresh model starts with, which trained weights hide."""

from __future__ import annotations

from tests.faults.fault import KERAS, NUMPY, TORCH, Fault


def conv(initializer: str) -> str:
    """A layer whose fans differ."""
    return f"- conv: {{name: conv1, filters: 64, kernel: 3, weight_init: {initializer}}}"


def needed(*of: str) -> Fault:
    """A fault that is found by comparing initializers."""
    trap, backend, layers, old, new, layer = of
    return Fault(trap, backend, layers, old, new, layer)


FAULTS = (
    needed("fan of the outputs", TORCH, conv("he_normal"), 'nonlinearity="relu")',
           'mode="fan_out", nonlinearity="relu")', "conv1"),
    needed("fan of the outputs", NUMPY, conv("he_normal"), 'fan="in"', 'fan="out"', "conv1"),
    needed("Keras' own he_normal, which is truncated", KERAS, conv("he_normal"),
           "kernel_initializer=he_normal()", 'kernel_initializer="he_normal"', "conv1"),
    needed("uniform in place of normal", TORCH, conv("he_normal"), "kaiming_normal_",
           "kaiming_uniform_", "conv1"),
    needed("a bound without its root of 3", KERAS, conv("glorot_uniform"),
           "layers.Conv2D(64, 3,", "layers.Conv2D(64, 3, kernel_initializer="
           'keras.initializers.VarianceScaling(1 / 3, "fan_avg", "uniform"),', "conv1"),
    needed("the gain of another activation", TORCH, conv("he_uniform"), 'nonlinearity="relu"',
           'nonlinearity="tanh"', "conv1"),
    needed("a slope that starts at Keras' 0", KERAS, "- prelu: {name: f}",
           "initializers.Constant(0.25)", "initializers.Constant(0.0)", "f"),
    needed("a bias that starts at 1", TORCH, conv("he_normal"), "nn.init.zeros_(self.conv1.bias)",
           "nn.init.ones_(self.conv1.bias)", "conv1"),
    needed("a scale that starts small", NUMPY, "- batch_norm: {name: bn}",
           'self.parameters["weight"] = np.ones(channels, np.float32)',
           'self.parameters["weight"] = np.full(channels, 0.9, np.float32)', "bn"),
)  # fmt: skip
