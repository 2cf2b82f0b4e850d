"""Activations: constants, derivatives, kinks, axes."""

from __future__ import annotations

from tests.faults.fault import KERAS, NUMPY, TORCH, Fault

LARGE = "- rescale: {scale: 15}\n- softplus: {name: f}"
SOFTMAX = "- softmax: {name: f}"
PRELU = "- prelu: {name: f}"

FAULTS = (
    Fault(
        "slope rounded to float32",
        TORCH, "- leaky_relu: {name: f}", "F.leaky_relu(x, 0.01)",
        "F.leaky_relu(x, 0.009999999776482582)", "f", "forward",
    ),
    Fault(
        "slope rounded to float32",
        KERAS, "- leaky_relu: {name: f}", 'LeakyRelu(0.01, name="f")',
        'layers.LeakyReLU(0.01, name="f")', "f", "forward",
    ),
    Fault("gelu by tanh", TORCH, "- gelu: {name: f}", "F.gelu(x)",
          'F.gelu(x, approximate="tanh")', "f", "forward"),
    Fault("gelu with constants in float32", KERAS, "- gelu: {name: f}", 'Gelu(name="f")',
          'layers.Activation("gelu", name="f")', "f", "forward"),
    Fault("softplus linear from 20 on", TORCH, LARGE, "threshold=40", "threshold=20",
          "f", "forward"),
    Fault("hard sigmoid whose derivative is float32's 1/6", TORCH, "- hard_sigmoid: {name: f}",
          "hard_sigmoid(x)\n", "F.hardsigmoid(x)\n", "f", "input_gradient"),
    Fault("hard sigmoid of old Keras", NUMPY, "- hard_sigmoid: {name: f}",
          "y, relu6_backward = relu6(x + 3)", "y, relu6_backward = relu6(1.2 * x + 3)",
          "f", "forward"),
    Fault("selu with four digits", NUMPY, "- selu: {name: f}", "1.0507009873554804934", "1.0507",
          "f", "forward"),
    Fault("the derivative of an elu without its alpha", NUMPY, "- elu: {name: f, alpha: 1.5}",
          "alpha * np.exp(negative) * g", "np.exp(negative) * g", "f", "input_gradient"),
    Fault("a term of the derivative of silu is missing", NUMPY, "- silu: {name: f}",
          "g * s * (1 + x * (1 - s))", "g * s", "f", "input_gradient"),
    Fault("the sum in the derivative of a softmax is missing", NUMPY, SOFTMAX,
          "y * (g - (g * y).sum(1, keepdims=True))", "y * g", "f", "input_gradient"),
    Fault("softmax over height", TORCH, SOFTMAX, "dim=1", "dim=2", "f", "forward"),
    Fault("softmax over height", KERAS, SOFTMAX, 'Softmax(name="f")', 'Softmax(axis=1, name="f")',
          "f", "forward"),
    Fault("softmax over width", NUMPY, SOFTMAX, "e / e.sum(1,", "e / e.sum(3,", "f", "forward"),
    Fault("a slope's gradient over positive elements", NUMPY, PRELU,
          "np.where(x > 0, 0, g * x).sum", "np.where(x > 0, g * x, 0).sum", "f",
          "parameter_gradient"),
    Fault("the slopes of two channels exchanged", TORCH, PRELU, "self.f(x)",
          "F.prelu(x, self.f.weight.flip(0))", "f", "forward"),
    Fault("the derivative of relu at 0 is 1", NUMPY, "- relu: {name: f}",
          "g * (y > 0)", "g * (x >= 0)", "f", "input_gradient"),
    Fault("the derivative of hard tanh at its bounds is 1", TORCH, "- hard_tanh: {name: f}",
          "F.hardtanh(x)", "x.clamp(-1, 1)", "f", "input_gradient"),
    Fault("the derivative of relu6 at its bounds is 1", NUMPY, "- relu6: {name: f}",
          "(x > 0) & (x < 6)", "(x >= 0) & (x <= 6)", "f", "input_gradient"),
    Fault("the derivative of celu at 0 is TensorFlow's", KERAS, "- celu: {name: f}",
          'Celu(name="f")', 'layers.Activation("celu", name="f")', "f", "input_gradient"),
    Fault("the derivative of leaky relu at 0 is 1", KERAS, "- leaky_relu: {name: f}",
          "ops.where(x > 0, x, self.slope * x)", "ops.where(x >= 0, x, self.slope * x)",
          "f", "input_gradient"),
    Fault("of equal operands both get half the gradient", TORCH,
          "- tanh\n- maximum: {name: f, from: [tanh1, input]}", "torch.where(other > x, other, x)",
          "torch.maximum(x, other)", "f", "input_gradient"),
)  # fmt: skip
