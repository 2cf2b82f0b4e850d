"""Pooling: what padding counts as, windows at the end, which element gets the gradient."""

from __future__ import annotations

from tests.faults.fault import KERAS, NUMPY, TORCH, Fault

MAX = "- max_pool: {name: pool, kernel: 3, stride: 2, padding: 1}"
EVEN_MAX = "input: [2, 8, 6]\nlayers:\n- max_pool: {name: pool, kernel: 2}"
AVG = "- avg_pool: {name: pool, kernel: 3, stride: 2, padding: 1}"
CEIL = "- avg_pool: {name: pool, kernel: 2, stride: 2, ceil_mode: true, count_include_pad: true}"
ADAPTIVE = "- adaptive_avg_pool: {name: pool, size: [4, 3]}"
ADAPTIVE_MAX = "- adaptive_max_pool: {name: pool, size: [4, 3]}"
LP = "input: [2, 8, 6]\nlayers:\n- lp_pool: {name: pool, kernel: 2, p: 3}"
SUM = "input: [2, 8, 6]\nlayers:\n- sum_pool: {name: pool, kernel: 2}"

FAULTS = (
    Fault(
        "max pool padded with zeros",
        TORCH, MAX, "F.max_pool2d(x, 3, stride=2, padding=1)",
        "F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 3, stride=2)", "pool", "forward",
    ),
    Fault(
        "max pool padded with zeros",
        NUMPY, MAX, "-math.inf, x.dtype", "0.0, x.dtype",
        "pool", "forward",
    ),
    Fault("max pool padded with zeros", KERAS, MAX, "-math.inf", "0.0", "pool", "forward"),
    Fault(
        "of equal elements all get the gradient",
        NUMPY, EVEN_MAX, "pending[at] ^= hit", "pending[at] ^= False", "pool", "input_gradient",
    ),
    Fault(
        "of equal elements the last one gets the gradient",
        NUMPY, EVEN_MAX, "for at, read in places:\n                hit",
        "for at, read in places[::-1]:\n                hit", "pool", "input_gradient",
    ),
    Fault(
        "equal elements share the gradient",
        TORCH, EVEN_MAX, "F.max_pool2d(x, 2)",
        "x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).amax(4)", "pool", "input_gradient",
    ),
    Fault(
        "equal elements of the whole share the gradient",
        TORCH, "- global_max_pool: {name: pool}", "F.adaptive_max_pool2d(x, 1)",
        "x.amax((2, 3), keepdim=True)", "pool", "input_gradient",
    ),
    Fault(
        "of equal elements the last one gets the gradient",
        KERAS, ADAPTIVE_MAX, "ops.where(value > best, value, best)",
        "ops.where(value >= best, value, best)", "pool", "input_gradient",
    ),
    Fault(
        "mean counts padding",
        TORCH, AVG, ", count_include_pad=False", "", "pool", "forward",
    ),
    Fault("mean counts padding", KERAS, AVG, "return x / share", "return x", "pool", "forward"),
    Fault(
        "mean does not count padding that it should",
        TORCH, AVG.replace("padding: 1", "padding: 1, count_include_pad: true"),
        "stride=2, padding=1)", "stride=2, padding=1, count_include_pad=False)",
        "pool", "forward",
    ),
    Fault(
        "what lies beyond the end is counted in ceil mode",
        NUMPY, CEIL, "(i < end)", "(i <= end)", "pool", "forward",
    ),
    Fault(
        "what lies beyond the end is counted in ceil mode",
        KERAS, CEIL, 'AvgPool((2, 2), pads=((0, 1), (0, 0)), name="pool")(inputs)',
        'layers.AveragePooling2D(2, name="pool")(layers.ZeroPadding2D(((0, 1), (0, 0)))(inputs))',
        "pool", "forward",
    ),
    Fault(
        "the gradient of a mean is not divided",
        NUMPY, AVG, "total_backward(g / count)", "total_backward(g)", "pool", "input_gradient",
    ),
    Fault(
        "bins end too early",
        NUMPY, ADAPTIVE, "-(-(i + 1) * n // count)", "(i + 1) * n // count", "pool", "forward",
    ),
    Fault(
        "bins end too early",
        KERAS, ADAPTIVE, "-(-(i + 1) * n // count)", "(i + 1) * n // count", "pool", "forward",
    ),
    Fault(
        "Lp pool without the absolute value",
        TORCH, LP, "F.pad(x, self.pads).abs()", "F.pad(x, self.pads)", "pool", "forward",
    ),
    Fault(
        "Lp pool: the exponent of its derivative",
        NUMPY, LP, "** (p - 1)\n", "** p\n", "pool", "input_gradient",
    ),
    Fault(
        "a sum divided by its terms",
        KERAS, SUM, "means = pool_windows(", "return pool_windows(", "pool", "forward",
    ),
)  # fmt: skip
