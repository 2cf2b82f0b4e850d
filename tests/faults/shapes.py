"""What only moves or scales elements: flatten, shuffles, resizes, slices, axes."""

from __future__ import annotations

from tests.faults.fault import KERAS, NUMPY, TORCH, Fault

FLATTEN = "- flatten: {name: flat}"
EIGHT = "input: [8, 4, 3]\nlayers:\n"
SHUFFLE = EIGHT + "- pixel_shuffle: {name: f, factor: 2}"
CHANNELS = "input: [6, 4, 3]\nlayers:\n- channel_shuffle: {name: f, groups: 2}"
SQUARE = "input: [4, 4, 4]\nlayers:\n"
PARTS = """\
input: [4, 3, 3]
layers:
- split: {name: f, into: 2}
- concat: {name: c, from: [f.0, f.1]}
"""
TWO = "- tanh: {name: a}\n- sigmoid: {name: b, from: input}\n"

FAULTS = (
    Fault("channels last", TORCH, FLATTEN, "torch.flatten(x, 1)",
          "torch.flatten(x.movedim(1, -1), 1)", "flat", "forward"),
    Fault("channels last", KERAS, FLATTEN, "Permute((3, 1, 2)", "Permute((1, 2, 3)",
          "flat", "forward"),
    Fault("channels last", NUMPY, FLATTEN, "x.reshape(len(x), -1)",
          'x.reshape(len(x), -1, order="F")', "flat", "forward"),
    Fault("channels of TensorFlow's depth_to_space", TORCH, SHUFFLE, "F.pixel_shuffle(x, 2)",
          "F.pixel_shuffle(F.channel_shuffle(x, 4), 2)", "f", "forward"),
    Fault("rows and columns of a block exchanged", KERAS, SHUFFLE,
          "for axis in (1 + i, rank + 2 + i)", "for axis in (1 + i, 2 * rank + 1 - i)",
          "f", "forward"),
    Fault("the inverse of a channel shuffle", TORCH, CHANNELS, "F.channel_shuffle(x, 2)",
          "F.channel_shuffle(x, 3)", "f", "forward"),
    Fault("nearest by the centres of elements", NUMPY,
          "- upsample: {name: f, size: [14, 11]}", "(i * n // o, np.ones(o))",
          "((2 * i + 1) * n // (2 * o), np.ones(o))", "f", "forward"),
    Fault("corners aligned", KERAS, "- upsample: {name: f, size: [14, 11], mode: linear}",
          'mode="linear", name="f"', 'mode="linear", align_corners=True, name="f"',
          "f", "forward"),
    Fault("corners not aligned", TORCH,
          "- upsample: {name: f, size: [14, 11], mode: linear, align_corners: true}",
          ", align_corners=True", "", "f", "forward"),
    Fault("TensorFlow's cubic kernel", NUMPY, "- upsample: {name: f, scale: 2, mode: bicubic}",
          "    a = -0.75\n", "    a = -0.5\n", "f", "forward"),
    Fault("half an element off", NUMPY, "- upsample: {name: f, scale: 2, mode: linear}",
          "(2 * i + 1) * n - o", "2 * i * n", "f", "forward"),
    Fault("resized in float32", KERAS, "- upsample: {name: f, scale: 2, mode: linear}",
          'Resize(scale=2, mode="linear", name="f")',
          'layers.UpSampling2D(2, interpolation="bilinear", name="f")', "f", "forward"),
    Fault("one element too far", TORCH, '- slice: {name: f, height: [1, 7, 2]}',
          "1:7:2", "2:8:2", "f", "forward"),
    Fault("the gradient of a slice one element too far", NUMPY,
          '- slice: {name: f, height: [1, 7, 2]}', "gx[index] = g",
          "gx[index] = np.roll(g, 1, 2)", "f", "input_gradient"),
    Fault("the other side is padded", TORCH, "- pad: {name: f, padding: [[1, 0], [0, 2]]}",
          "(0, 2, 1, 0)", "(2, 0, 0, 1)", "f", "forward"),
    Fault("the other side is cropped", KERAS, "- crop: {name: f, cropping: [[1, 0], [0, 2]]}",
          "Cropping2D(((1, 0), (0, 2))", "Cropping2D(((0, 1), (2, 0))", "f", "forward"),
    Fault("another permutation", KERAS, SQUARE + "- permute: {name: f, axes: [1, 2, 0]}",
          "Permute((2, 3, 1)", "Permute((3, 1, 2)", "f", "forward"),
    Fault("parts of a split exchanged", TORCH,
          PARTS,
          "f_0, f_1 = ", "f_1, f_0 = ", "c", "forward"),
    Fault("operands exchanged", TORCH, TWO + "- subtract: {name: f, from: [a, b]}",
          "x - b", "b - x", "f", "forward"),
    Fault("the subtrahend's gradient has the wrong sign", NUMPY,
          TWO + "- subtract: {name: f, from: [a, b]}", "(g, -g)", "(g, g)",
          "f", "input_gradient"),
    Fault("divided by 3", TORCH, TWO + "- average: {name: f, from: [a, b]}",
          "/ 2\n", "/ 3\n", "f", "forward"),
    Fault("scales width instead of channels", TORCH, SQUARE + "- layer_scale: {name: f}",
          "self.weight.reshape(-1, *[1] * (x.dim() - 2)) * x", "self.weight * x",
          "f", "forward"),
    Fault("scales height instead of channels", KERAS, SQUARE + "- layer_scale: {name: f}",
          "return self.weight * x", "return self.weight[:, None, None] * x", "f", "forward"),
    Fault("mean along the other axis", KERAS, SQUARE + "- mean: {name: f, axes: height}",
          "keepdims=True", "keepdims=False", "f", "forward"),
    Fault("mean and deviation exchanged", TORCH,
          "- normalize: {name: f, mean: [1, 2], std: [3, 4]}",
          "Normalize((1.0, 2.0), (3.0, 4.0))", "Normalize((3.0, 4.0), (1.0, 2.0))",
          "f", "forward"),
    Fault("a scale rounded to float32", KERAS, "- rescale: {name: f, scale: 0.1}",
          'Rescale(0.1, name="f")', 'layers.Rescaling(0.1, name="f")', "f", "forward"),
    Fault("the factor 2 of a square's derivative", NUMPY,
          "- flatten\n- rbf: {name: f, units: 5}", "2 * g[..., None]", "g[..., None]",
          "f", "input_gradient"),
    Fault("gates per column instead of per channel", TORCH,
          SQUARE + "- mean: {name: m, axes: space}\n- multiply: {name: f, from: [input, m]}",
          "inputs * x", "inputs * x.movedim(1, 3)", "f", "forward"),
)  # fmt: skip
