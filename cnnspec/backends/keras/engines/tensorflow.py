"""TensorFlow: a tape records, and is played back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from cnnspec.backends.keras.engines import Leaves, Pass, Pulled, Run, no_gpu

if TYPE_CHECKING:
    from cnnspec.backends.base import Array

# Keras compiles a grouped convolution anew for every eager call, which TensorFlow warns about.
tf.get_logger().setLevel("ERROR")


class _TensorFlow:
    name = "tensorflow"

    def prepare(self, device: str, devices: int = 1) -> None:
        if device == "cuda" and not tf.config.list_physical_devices("GPU"):
            raise no_gpu("TensorFlow")
        tf.config.experimental.enable_tensor_float_32_execution(False)

    def array(self, x: Any) -> Array:
        found: Array = x.numpy()
        return found

    def own(self, x: Any) -> Any:
        return tf.identity(x)

    def pull(
        self,
        run: Run,
        leaves: Leaves,
        parameters: Mapping[str, Any],
        model: Any,
        *,
        inner: bool = False,
    ) -> tuple[Pass, Pulled]:
        with tf.GradientTape() as tape:
            tape.watch(leaves)
            found = run(leaves, {})
        sources = {
            "leaves": leaves,
            "parameters": {name: variable.value for name, variable in parameters.items()},
            "values": found.values if inner else {},
        }
        pulled = tape.gradient(
            found.heads,
            sources,
            output_gradients=found.seeds,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return found, Pulled(**pulled)

    def traced(self, function: Callable[..., Any]) -> Callable[..., Any]:
        found: Callable[..., Any] = tf.function(function)
        return found

    def compile(self, model: Any) -> None:
        model.run_eagerly = False


ENGINE = _TensorFlow()
