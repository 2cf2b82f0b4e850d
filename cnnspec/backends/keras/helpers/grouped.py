"""Grouped and depthwise convolutions, which Keras compiles anew at every eager call, or lacks."""

from __future__ import annotations

from typing import Any

import keras
from keras import initializers, layers, ops

from cnnspec.backends.keras.helpers.package import PACKAGE


def depthwise_conv(x: Any, kernel: Any, strides: Any, dilation: Any, padding: str = "valid") -> Any:
    """Every channel by itself; where there is a depth, the sum over its taps."""
    if len(strides) == 3:
        parts = []
        for i in range(kernel.shape[0]):
            end = x.shape[1] - (kernel.shape[0] - 1 - i) * dilation[0]
            part = x[:, i * dilation[0] : end : strides[0]]
            depth = part.shape[1]
            part = ops.reshape(part, (-1, *x.shape[2:]))
            parts.append(depthwise_conv(part, kernel[i], strides[1:], dilation[1:]))
        y = sum(parts[1:], parts[0])
        return ops.reshape(y, (-1, depth, *y.shape[1:]))
    if len(set(strides)) == 1 and max(dilation) == 1:
        return ops.depthwise_conv(x, kernel, strides, padding)
    # TensorFlow has one stride for all axes, and none with dilation.
    ones = (1,) * len(strides)
    y = ops.depthwise_conv(x, kernel, ones, padding, dilation_rate=dilation)
    return y[(slice(None), *(slice(None, None, stride) for stride in strides))]


def grouped_conv(
    x: Any, kernel: Any, groups: int, strides: Any, dilation: Any, padding: str = "valid"
) -> Any:
    """Each group of channels by itself; the kernel is (*size, channels / groups, filters)."""
    *size, channels, filters = kernel.shape
    if channels > 4 or groups == 1:
        split = zip(ops.split(x, groups, -1), ops.split(kernel, groups, -1), strict=True)
        made = [ops.conv(part, w, strides, padding, dilation_rate=dilation) for part, w in split]
        return ops.concatenate(made, -1)
    # With few channels in a group, the filters of each channel first, and then their sum.
    each = filters // groups
    kernel = ops.swapaxes(ops.reshape(kernel, (*size, channels, groups, each)), -3, -2)
    kernel = ops.reshape(kernel, (*size, groups * channels, each))
    y = depthwise_conv(x, kernel, strides, dilation, padding)
    space = y.shape[1:-1]
    y = ops.sum(ops.reshape(y, (-1, *space, groups, channels, each)), -2)
    return ops.reshape(y, (-1, *space, filters))


@keras.saving.register_keras_serializable(PACKAGE)
class GroupedConv1D(layers.Conv1D):
    """A grouped convolution that is not compiled anew at every eager call."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve group by group."""
        return grouped_conv(
            inputs, kernel, self.groups, self.strides, self.dilation_rate, self.padding
        )

    def call(self, x: Any) -> Any:
        """Convolve; add the bias."""
        y = self.convolution_op(x, self.kernel)
        return y + self.bias if self.use_bias else y


@keras.saving.register_keras_serializable(PACKAGE)
class GroupedConv2D(layers.Conv2D):
    """A grouped convolution that is not compiled anew at every eager call."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve group by group."""
        return grouped_conv(
            inputs, kernel, self.groups, self.strides, self.dilation_rate, self.padding
        )


@keras.saving.register_keras_serializable(PACKAGE)
class GroupedConv3D(layers.Conv3D):
    """A grouped convolution that is not compiled anew at every eager call."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve group by group."""
        return grouped_conv(
            inputs, kernel, self.groups, self.strides, self.dilation_rate, self.padding
        )


@keras.saving.register_keras_serializable(PACKAGE)
class TrueGroupedConv1D(GroupedConv1D):
    """True grouped convolution: the kernel is flipped each time it is used."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve with the flipped kernel."""
        return super().convolution_op(inputs, ops.flip(kernel, 0))


@keras.saving.register_keras_serializable(PACKAGE)
class TrueGroupedConv2D(GroupedConv2D):
    """True grouped convolution: the kernel is flipped each time it is used."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve with the flipped kernel."""
        return super().convolution_op(inputs, ops.flip(kernel, (0, 1)))


@keras.saving.register_keras_serializable(PACKAGE)
class TrueGroupedConv3D(GroupedConv3D):
    """True grouped convolution: the kernel is flipped each time it is used."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve with the flipped kernel."""
        return super().convolution_op(inputs, ops.flip(kernel, (0, 1, 2)))


class KernelLayer(layers.Layer):
    """What convolutions over any number of axes have that are no subclass of Keras' own."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = None,
        dilation_rate: Any = None,
        use_bias: bool = True,
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        ones = (1,) * len(kernel_size)
        self.filters, self.kernel_size, self.use_bias = filters, kernel_size, use_bias
        self.strides, self.dilation_rate = strides or ones, dilation_rate or ones
        self.bias_initializer = initializers.get(bias_initializer)

    def build(self, shape: Any) -> None:
        """The bias, of shape (filters,)."""
        if self.use_bias:
            self.bias = self.add_weight((self.filters,), self.bias_initializer, name="bias")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "dilation_rate": self.dilation_rate,
            "use_bias": self.use_bias,
            "bias_initializer": initializers.serialize(self.bias_initializer),
        }


@keras.saving.register_keras_serializable(PACKAGE)
class SeparableConv(KernelLayer):
    """Depthwise, then pointwise, over any number of axes and with any strides."""

    def __init__(
        self,
        *args: Any,
        depth_multiplier: int = 1,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.depth_multiplier = depth_multiplier
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.pointwise_initializer = initializers.get(pointwise_initializer)

    def build(self, shape: Any) -> None:
        """Kernels of shape (*size, 1, width) and (1, ..., width, filters), and the bias."""
        width, ones = shape[-1] * self.depth_multiplier, (1,) * len(self.kernel_size)
        self.depthwise_kernel = self.add_weight(
            (*self.kernel_size, 1, width), self.depthwise_initializer, name="depthwise_kernel"
        )
        self.pointwise_kernel = self.add_weight(
            (*ones, width, self.filters), self.pointwise_initializer, name="pointwise_kernel"
        )
        super().build(shape)

    def call(self, x: Any) -> Any:
        """Space first, then channels."""
        kernel = self.depthwise_kernel
        kernel = ops.reshape(kernel, (*self.kernel_size, x.shape[-1], self.depth_multiplier))
        x = depthwise_conv(x, kernel, self.strides, self.dilation_rate)
        y = ops.conv(x, self.pointwise_kernel)
        return y + self.bias if self.use_bias else y

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "depth_multiplier": self.depth_multiplier,
            "depthwise_initializer": initializers.serialize(self.depthwise_initializer),
            "pointwise_initializer": initializers.serialize(self.pointwise_initializer),
        }


@keras.saving.register_keras_serializable(PACKAGE)
class ConvTranspose(KernelLayer):
    """Transposed convolution with groups or dilation, by a convolution of the spread input."""

    def __init__(
        self,
        *args: Any,
        crops: Any = None,
        groups: int = 1,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.crops, self.groups = crops or [(0, 0)] * len(self.kernel_size), groups
        self.kernel_initializer = initializers.get(kernel_initializer)

    def build(self, shape: Any) -> None:
        """A kernel of shape (*size, filters / groups, channels)."""
        size = (*self.kernel_size, self.filters // self.groups, shape[-1])
        self.kernel = self.add_weight(size, self.kernel_initializer, name="kernel")
        super().build(shape)

    def call(self, x: Any) -> Any:
        """Put zeros between the elements and around them; convolve with the flipped kernel."""
        *size, filters, channels = self.kernel.shape
        for axis, stride in enumerate(self.strides, start=1):
            reach = (size[axis - 1] - 1) * self.dilation_rate[axis - 1]
            before, after = (reach - crop for crop in self.crops[axis - 1])
            shape = list(x.shape)
            x = ops.expand_dims(x, axis + 1)
            x = ops.pad(x, [(0, stride - 1) if i == axis + 1 else (0, 0) for i in range(x.ndim)])
            x = ops.reshape(x, (-1, *shape[1:axis], shape[axis] * stride, *shape[axis + 1 :]))
            first, end = max(0, -before), (shape[axis] - 1) * stride + 1 - max(0, -after)
            x = x[(slice(None),) * axis + (slice(first, end),)]
            around = (max(0, before), max(0, after))
            x = ops.pad(x, [around if i == axis else (0, 0) for i in range(x.ndim)])
        kernel = ops.flip(self.kernel, tuple(range(len(size))))
        kernel = ops.reshape(kernel, (*size, filters, self.groups, channels // self.groups))
        kernel = ops.reshape(ops.swapaxes(kernel, -3, -1), (*size, -1, filters * self.groups))
        ones = (1,) * len(size)
        y = grouped_conv(x, kernel, self.groups, ones, self.dilation_rate)
        return y + self.bias if self.use_bias else y

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "crops": self.crops,
            "groups": self.groups,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
        }
