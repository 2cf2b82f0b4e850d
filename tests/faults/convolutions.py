"""Convolutions: padding, dilation, groups, kernels, biases."""

from __future__ import annotations

from tests.faults.fault import KERAS, NUMPY, TORCH, Fault

CONV = "- conv: {name: conv1, filters: 4, kernel: 3, padding: 1}\n- relu"
EVEN = "- tanh\n- conv: {name: conv1, filters: 4, kernel: 2, padding: same}"
LOWER = "- tanh\n- conv: {name: conv1, filters: 4, kernel: 3, stride: 2, padding: same_lower}"
STRIDED = "- tanh\n- conv: {name: conv1, filters: 4, kernel: 3, stride: 2, padding: 1}"
DILATED = "- conv: {name: conv1, filters: 4, kernel: 3, dilation: [1, 2], padding: [1, 2]}"
FLIPPED = "- conv: {name: conv1, filters: 4, kernel: 3, padding: 1, flip: true}"
GROUPS = """\
- conv: {name: conv1, filters: 4, kernel: 1}
- conv: {name: conv2, filters: 4, kernel: 3, groups: 2}
"""
TRANSPOSED = (
    "- conv_transpose: {name: up, filters: 3, kernel: 3, stride: 2, padding: 1, output_padding: 1}"
)
REFLECT = "- conv: {name: conv1, filters: 4, kernel: 3, padding: 2, padding_mode: reflect}"

FAULTS = (
    Fault(
        "even kernel, same: the odd element of padding in front",
        TORCH, EVEN, "pads=(0, 1, 0, 1)", "pads=(1, 0, 1, 0)", "conv1", "forward",
    ),
    Fault(
        "same_lower: the odd element of padding behind",
        NUMPY, LOWER, "pads=((1, 1), (1, 0))", "pads=((1, 1), (0, 1))", "conv1", "forward",
    ),
    Fault(
        "same_lower: the odd element of padding behind",
        KERAS, LOWER, "ZeroPadding2D(((1, 1), (1, 0))", "ZeroPadding2D(((1, 1), (0, 1))",
        "conv1", "forward",
    ),
    Fault(
        "padding 1 with stride 2 as TensorFlow's same, which has equal shape",
        KERAS, STRIDED, "ZeroPadding2D(1,", "ZeroPadding2D(((1, 1), (0, 1)),", "conv1", "forward",
    ),
    Fault(
        "dilation and padding of the two axes exchanged",
        TORCH, DILATED, "padding=(1, 2), dilation=(1, 2)", "padding=(2, 1), dilation=(2, 1)",
        "conv1", "forward",
    ),
    Fault(
        "dilation and padding of the two axes exchanged",
        NUMPY, DILATED, "dilation=(1, 2), pads=((1, 1), (2, 2))",
        "dilation=(2, 1), pads=((2, 2), (1, 1))",
        "conv1", "forward",
    ),
    Fault(
        "a kernel flipped that should not be",
        TORCH, CONV, "self.conv1(x)",
        "F.conv2d(x, self.conv1.weight.flip(2, 3), self.conv1.bias, padding=1)",
        "conv1", "forward",
    ),
    Fault(
        "true convolution flips one axis of two",
        KERAS, FLIPPED, "ops.flip(kernel, (0, 1))", "ops.flip(kernel, (0,))", "conv1", "forward",
    ),
    Fault(
        "the gradient of a flipped kernel is not flipped back",
        NUMPY, FLIPPED, "np.flip(g_weight, kernel_axes) if self.flip else g_weight", "g_weight",
        "conv1", "parameter_gradient",
    ),
    Fault(
        "a square kernel transposed",
        TORCH, CONV, "self.conv1(x)",
        "F.conv2d(x, self.conv1.weight.transpose(2, 3), self.conv1.bias, padding=1)",
        "conv1", "forward",
    ),
    Fault(
        "a square kernel transposed",
        NUMPY, CONV, 'weight = self.parameters["weight"]',
        'weight = self.parameters["weight"].swapaxes(2, 3)', "conv1", "forward",
    ),
    Fault(
        "two input channels exchanged",
        TORCH, CONV, "self.conv1(x)",
        "F.conv2d(x, self.conv1.weight.flip(1), self.conv1.bias, padding=1)", "conv1", "forward",
    ),
    Fault(
        "filters interleaved instead of group by group",
        TORCH, GROUPS, "self.conv2(x)", "F.channel_shuffle(self.conv2(x), 2)", "conv2", "forward",
    ),
    Fault(
        "filters interleaved instead of group by group",
        KERAS, GROUPS, "ops.swapaxes(ops.reshape(kernel, (*size, channels, groups, each)), -3, -2)",
        "ops.moveaxis(ops.reshape(kernel, (*size, channels, each, groups)), -1, -3)",
        "conv2", "forward",
    ),
    Fault(
        "depthwise filters multiplier by multiplier instead of channel by channel",
        TORCH, "- depthwise_conv: {name: dw, multiplier: 3, kernel: 3}", "self.dw(x)",
        "F.channel_shuffle(self.dw(x), 3)", "dw", "forward",
    ),
    Fault(
        "transposed convolution shifted by one element, of equal shape",
        NUMPY, TRANSPOSED, "crops=((1, 0), (1, 0))", "crops=((0, 1), (0, 1))", "up", "forward",
    ),
    Fault(
        "transposed convolution shifted by one element, of equal shape",
        KERAS, TRANSPOSED, "Cropping2D(((1, 0), (1, 0))", "Cropping2D(((0, 1), (0, 1))",
        "up", "forward",
    ),
    Fault(
        "transposed convolution with its kernel flipped",
        TORCH, TRANSPOSED, "self.up(x)",
        "F.conv_transpose2d(x, self.up.weight.flip(2, 3), self.up.bias, 2, 1, 1)",
        "up", "forward",
    ),
    Fault(
        "reflect padding that repeats the edge",
        KERAS, REFLECT, "2 * (size - 1) - i for", "2 * size - 1 - i for", "conv1", "forward",
    ),
    Fault(
        "replicate in place of reflect",
        TORCH, REFLECT, 'mode="reflect"', 'mode="replicate"', "conv1", "forward",
    ),
    Fault(
        "what is padded by reflection gets no gradient from its copies",
        NUMPY, REFLECT, "inner[index[i]] += g[i]", "inner[index[i]] += 0 * g[i]",
        "conv1", "input_gradient",
    ),
    Fault(
        "bias forgotten",
        TORCH, CONV, "self.conv1(x)", "F.conv2d(x, self.conv1.weight, padding=1)",
        "conv1", "forward",
    ),
    Fault(
        "bias forgotten",
        KERAS, CONV + "\n- flatten\n- dense: {name: fc, units: 3}",
        'layers.Dense(3, kernel_initializer=he_normal(), name="fc")(x)',
        '(lambda fc: fc(x) - fc.bias)(layers.Dense(3, kernel_initializer=he_normal(), name="fc"))',
        "fc", "forward",
    ),
    Fault(
        "the gradient of a bias is a mean over the batch",
        NUMPY, "- flatten\n- dense: {name: fc, units: 3}", "g.sum(0)", "g.mean(0)",
        "fc", "parameter_gradient",
    ),
    Fault(
        "separable convolution: the second part reads its own input's gradient",
        NUMPY, "- separable_conv: {name: sep, filters: 2, kernel: 3, padding: 1}",
        "depthwise_back(pointwise_back(g))", "depthwise_back(pointwise_back(g) * 0 + g)",
        "sep", "input_gradient",
    ),
)  # fmt: skip
