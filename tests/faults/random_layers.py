"""Random layers: scale, masks and their counters, and the mode that they act in."""

from __future__ import annotations

from tests.faults.fault import KERAS, NUMPY, STEPS, TORCH, Fault

DROPOUT = "- conv: {name: conv1, filters: 4, kernel: 3}\n- dropout: {name: drop, p: 0.4}"
SPATIAL = "- spatial_dropout: {name: drop, p: 0.4}"
ALPHA = "- selu\n- alpha_dropout: {name: drop, p: 0.4}"
DEPTH = "- stochastic_depth: {name: drop, p: 0.4}"
FLAT = "- tanh\n- flatten\n- dropout: {name: drop, p: 0.4}\n- dense: {name: fc, units: 3}"

FAULTS = (
    Fault("scaled by 1 / p", TORCH, DROPOUT, "1 / (1 - self.p)", "1 / self.p", "drop", "forward"),
    Fault("not scaled", KERAS, DROPOUT, "x * (1 / (1 - self.p))", "x", "drop", "forward"),
    Fault("the gradient is not scaled", NUMPY, DROPOUT, "np.where(keep, g * scale, 0)",
          "np.where(keep, g, 0)", "drop", "input_gradient"),
    Fault("dropped where it should be kept", TORCH, DROPOUT, "words >=", "words <",
          "drop", "forward"),
    Fault("acts in inference too", TORCH, DROPOUT, "not self.training or ", "", "drop", "forward"),
    Fault("does not act in training", KERAS, DROPOUT, "if not training or self.p == 0",
          "if training or self.p == 0", "drop", "forward"),
    Fault("masks count channels last", KERAS, DROPOUT,
          "ops.moveaxis(ops.reshape(words, (-1, x.shape[-1], *x.shape[1:-1])), 1, -1)",
          "ops.reshape(words, (-1, *x.shape[1:]))", "drop", "forward"),
    Fault("the layer's name is not in the counter", TORCH, DROPOUT,
          "philox(blocks, self.step, self.layer,", "philox(blocks, self.step, 0,",
          "drop", "forward"),
    Fault("the same mask at every step", TORCH, FLAT,
          "philox(blocks, self.step, self.layer,", "philox(blocks, 0, self.layer,",
          STEPS, ".loss"),
    Fault("the same mask at every step", KERAS, FLAT, "philox(blocks, step,",
          "philox(blocks, 0 * step,", STEPS, ".loss"),
    Fault("seven rounds of ten", NUMPY, DROPOUT, "range(10)", "range(7)", "drop", "forward"),
    Fault("the words of a block in another order", NUMPY, DROPOUT,
          "return a, b, c, d", "return b, a, c, d", "drop", "forward"),
    Fault("one decision for each element", TORCH, SPATIAL,
          "x.new_ones(*x.shape[:2], *[1] * (x.dim() - 2))", "x.new_ones(x.shape)",
          "drop", "forward"),
    Fault("one decision for each channel of the batch", NUMPY, SPATIAL,
          "leading_ones(x, 2)", "leading_ones(x[:1], 2)", "drop", "forward"),
    Fault("another constant", KERAS, ALPHA, "low**2", "low", "drop", "forward"),
    Fault("the offset's sign", TORCH, ALPHA, "a * x - a * self.p * low", "a * x + a * self.p * low",
          "drop", "forward"),
    Fault("the gradient is not scaled, alpha", NUMPY, ALPHA, "np.where(keep, a * g, 0)",
          "np.where(keep, g, 0)", "drop", "input_gradient"),
    Fault("one decision for the batch", TORCH, DEPTH, "x.new_ones(len(x),", "x.new_ones(1,",
          "drop", "forward"),
    Fault("one decision for the batch", KERAS, DEPTH, "samples = x[(slice(None),",
          "samples = x[(slice(1),", "drop", "forward"),
)  # fmt: skip
