"""What the convolution kernel copies and keeps."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest

from cnnspec.backends.numpy.kernels.annotations import Array, Backward, Forward
from cnnspec.backends.numpy.kernels.base import Model
from cnnspec.backends.numpy.kernels.conv import Conv
from tests.test_kernels_conv import build, reference_conv


@pytest.mark.parametrize("stride", [1, 2])
def test_a_kernel_of_one_pixel_is_its_definition(stride: int) -> None:
    """With so many pixels, the images are multiplied as they lie."""
    rng = np.random.default_rng(stride)
    x = rng.standard_normal((2, 4, 17, 16))
    layer = build(rng, x, {"filters": 6, "kernel": (1, 1), "groups": 2, "stride": stride})
    y, backward = layer.forward(x)
    np.testing.assert_allclose(y, reference_conv(layer, x), rtol=0, atol=1e-13)
    g = rng.standard_normal(y.shape)
    gx = backward(g)
    weight = layer.parameters["weight"].reshape(2, 3, 2)
    parts = g.reshape(2, 2, 3, *y.shape[2:])
    expected = np.zeros_like(x)
    expected[:, :, ::stride, ::stride] = np.einsum("goc,ngohw->ngchw", weight, parts).reshape(
        2, 4, *y.shape[2:]
    )
    np.testing.assert_allclose(gx, expected, rtol=0, atol=1e-13)
    read = x[:, :, ::stride, ::stride].reshape(2, 2, 2, *y.shape[2:])
    of_weight = np.einsum("ngohw,ngchw->goc", parts, read).reshape(6, 2, 1, 1)
    np.testing.assert_allclose(layer.gradients["weight"], of_weight, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("batch", "channels", "filters", "kernel", "stride", "groups", "size"),
    [
        (1, 64, 64, 3, 1, 1, 56),
        (8, 3, 16, 7, 2, 1, 96),
        (1, 64, 128, 3, 2, 1, 56),
        (2, 96, 96, 3, 1, 96, 56),
        (4, 64, 256, 1, 1, 1, 28),
    ],
)
def test_a_convolution_takes_no_more_memory_than_its_arrays(
    batch: int, channels: int, filters: int, kernel: int, stride: int, groups: int, size: int
) -> None:
    layer = Conv(
        channels, filters, (kernel, kernel), stride=stride, pads=kernel // 2, groups=groups
    )
    x = np.zeros((batch, channels, size, size), np.float32)
    tracemalloc.start()
    try:
        y, _ = layer.forward(x)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - y.nbytes < x.nbytes + y.nbytes + layer.parameters["weight"].nbytes


def test_predict_keeps_nothing_for_a_backward_pass() -> None:
    class Net(Model):
        def __init__(self) -> None:
            self.conv = Conv(1, 2, (3, 3))

        def forward(self, x: Array, training: bool = False) -> Forward:
            backs.append(self.conv.forward(x, training)[1])
            return self.conv.forward(x, training)

    backs: list[Backward] = []
    net, x = Net(), np.ones((1, 1, 4, 4), np.float32)
    y = net.predict(x)
    with pytest.raises(RuntimeError, match="predict"):
        backs[0](y)
    with pytest.raises(ValueError, match="4 axes"):
        net.predict(x[0])
    net.forward(x)  # an error in between has switched nothing off
    assert backs[-1](y).shape == x.shape


def test_predict_leaves_other_threads_alone() -> None:
    class Net(Model):
        def __init__(self) -> None:
            self.conv = Conv(1, 2, (3, 3))

        def forward(self, x: Array, training: bool = False) -> Forward:
            if threading.current_thread() is other:
                asked.set()
                assert answered.wait(30)
            return self.conv.forward(x, training)

    asked, answered = threading.Event(), threading.Event()
    net, x = Net(), np.ones((1, 1, 4, 4), np.float32)
    other = threading.Thread(target=net.predict, args=(x,))
    other.start()
    assert asked.wait(30)
    y, backward = net.forward(x)
    answered.set()
    other.join()
    assert backward(y).shape == x.shape
