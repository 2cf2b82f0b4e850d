"""Wires: skips, blocks and their instances, shared parameters, outputs; needles in haystacks."""

from __future__ import annotations

from tests.faults.fault import KERAS, NUMPY, TORCH, Fault

SKIP = """\
- conv: {name: conv1, filters: 4, kernel: 3, padding: 1}
- relu: {name: act1}
- conv: {name: conv2, filters: 4, kernel: 3, padding: 1}
- add: {name: sum1, from: [conv2, act1]}
- conv: {name: conv3, filters: 4, kernel: 3, padding: 1}
- add: {name: sum2, from: [conv3, sum1]}
"""
BLOCKS = """\
input: [4, 6, 5]
define:
  block:
    layers:
      - conv: {name: conv1, filters: 4, kernel: 3, padding: 1, bias: false}
      - batch_norm: {name: bn1}
      - relu
      - add: {name: sum, from: [relu1, input]}
layers:
  - block: {name: layer1, repeat: 4}
"""
SHARED = """\
input: [4, 6, 5]
layers:
- conv: {name: conv1, filters: 4, kernel: 3, padding: 1}
- tanh
- conv: {name: conv2, share: conv1, filters: 4, kernel: 3, padding: 1}
"""
TWO_OUTPUTS = """\
input: [2, 6, 5]
layers:
- conv: {name: left, filters: 3, kernel: 3}
- conv: {name: right, from: input, filters: 3, kernel: 3}
outputs: {first: left, second: right}
"""
MSE2 = """\
train:
  loss: {first: mean_squared_error, second: mean_squared_error}
  optimizer: {sgd: {lr: 0.01}}
"""
DENSE = "input: [40]\nlayers:\n- dense: {name: fc, units: 5000}\n- tanh"
LONG = "input: [5000]\nlayers:\n- dense: {name: fc, units: 3}"
WIDE = "input: [1, 41, 41]\nlayers:\n- conv: {name: conv1, filters: 2, kernel: 3, padding: 1}"
LARGE = "input: [16, 64, 64]\nlayers:\n- tanh: {name: f}"

FAULTS = (
    Fault("a skip from a layer too early", TORCH, SKIP, "conv3(sum1)\n        x = x + sum1",
          "conv3(sum1)\n        x = x + act1", "sum2", "forward"),
    Fault("a skip from a layer too early", KERAS, SKIP, 'name="sum2")([x, sum1])',
          'name="sum2")([x, act1])', "sum2", "forward"),
    Fault("a skip from a layer too early", NUMPY, SKIP, "add(x, sum1)", "add(x, act1)",
          "sum2", "forward"),
    Fault("a layer reads what is in front of the activation", TORCH, SKIP,
          "act1 = F.relu(x)\n        x = self.conv2(act1)",
          "act1 = F.relu(x)\n        x = self.conv2(x)",
          "conv2", "forward"),
    Fault("no gradient through a skip", TORCH, SKIP, "x + act1", "x + act1.detach()",
          "sum1", "input_gradient"),
    Fault("the gradient of a skip is forgotten", NUMPY, SKIP, "g_act1 = g_act1 + conv2_backward(g)",
          "g_act1 = conv2_backward(g)", "sum1", "input_gradient"),
    Fault("another eps in the third instance of a block", TORCH, BLOCKS,
          "range(4)))", "range(4)))\n        self.layer1[2].bn1.eps = 1e-3",
          "layer1.2.bn1", "forward"),
    Fault("another momentum in the third instance of a block", NUMPY, BLOCKS,
          "range(4)))",
          'range(4)))\n        vars(self.layer1)["2"].bn1.momentum = 0.2',
          "layer1.2.bn1", "running_statistics"),
    Fault("another momentum in the third instance of a block", KERAS, BLOCKS,
          "BatchNorm(momentum=0.9,", 'BatchNorm(momentum=0.8 if "1.2" in name else 0.9,',
          "layer1.2.bn1", "running_statistics"),
    Fault("a shared layer's second use gets no gradient", TORCH, SHARED,
          "tanh(x)\n        x = self.conv1(x)",
          "tanh(x)\n        x = F.conv2d(x, self.conv1.weight.detach(), self.conv1.bias, 1, 1)",
          "conv1", "parameter_gradient"),
    Fault("a shared layer's second use has no bias", TORCH, SHARED,
          "tanh(x)\n        x = self.conv1(x)",
          "tanh(x)\n        x = F.conv2d(x, self.conv1.weight, None, 1, 1)", "conv2", "forward"),
    Fault("gradients of a shared layer replace each other", NUMPY, SHARED,
          "gradient if known is None else known + gradient", "gradient",
          "conv1", "parameter_gradient"),
    Fault("outputs exchanged", TORCH, TWO_OUTPUTS, '{"first": left, "second": right}',
          '{"first": right, "second": left}', "left", "forward", train=MSE2),
    Fault("outputs exchanged", KERAS, TWO_OUTPUTS, '{"first": left, "second": right}',
          '{"first": right, "second": left}', "left", "forward", train=MSE2),
    Fault("a sum of 5,000 terms off by 1e-9", NUMPY, DENSE, "return g @ weight",
          "return (1 - 1e-9) * (g @ weight)", "fc", "input_gradient"),
    Fault("a sum of 5,000 terms off by 1e-9, forward", TORCH, LONG, "self.fc(x)",
          "F.linear(x, self.fc.weight * (1 - 1e-9), self.fc.bias)", "fc", "forward"),
    Fault("a gradient of 5,000 terms off by 1e-9", NUMPY, WIDE,
          "g_matrix.reshape(weight.shape)", "g_matrix.reshape(weight.shape) * (1 - 1e-9)",
          "conv1", "parameter_gradient"),
    Fault("one element of 200,000 off by 1e-12", TORCH, LARGE, "torch.tanh(x)",
          "torch.tanh(x) + F.pad(x.new_full((1, 1, 1, 1), 1e-12), (40, 23, 7, 56, 3, 12, 1, 1))",
          "f", "forward"),
    Fault("one of 200,000 gradients off by 1e-9", NUMPY, LARGE, "g * (1 - y * y)",
          "g * (1 - y * y - 1e-9 * (np.arange(g.size).reshape(g.shape) == 123456))",
          "f", "input_gradient"),
)  # fmt: skip
