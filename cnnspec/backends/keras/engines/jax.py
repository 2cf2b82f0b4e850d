"""JAX: functions of values, so that what a model changes has to be carried out of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from cnnspec.backends.keras.engines import Leaves, Pass, Pulled, Run, no_gpu

if TYPE_CHECKING:
    from cnnspec.backends.base import Array

FORCED = "xla_force_host_platform_device_count"
"""With this flag JAX refuses to be told a number in another way."""


class _Jax:
    name = "jax"

    def prepare(self, device: str, devices: int = 1) -> None:
        if device == "cuda":
            try:
                jax.devices("gpu")
            except RuntimeError:
                raise no_gpu("JAX") from None
        elif devices > 1 and FORCED not in os.environ.get("XLA_FLAGS", ""):
            with contextlib.suppress(RuntimeError):  # it runs already, as one device
                jax.config.update("jax_num_cpu_devices", devices)
        jax.config.update("jax_default_matmul_precision", "highest")

    def array(self, x: Any) -> Array:
        return np.asarray(x)

    def own(self, x: Any) -> Any:
        return x  # a value's cotangent is that of the offset that is added to it

    def pull(
        self,
        run: Run,
        leaves: Leaves,
        parameters: Mapping[str, Any],
        model: Any,
        *,
        inner: bool = False,
    ) -> tuple[Pass, Pulled]:
        trained = {id(variable) for variable in parameters.values()}
        others = [variable for variable in model.variables if id(variable) not in trained]

        def function(leaves: Leaves, values: Any, offsets: Any) -> Any:
            given = [(variable, values[name]) for name, variable in parameters.items()]
            with keras.StatelessScope(state_mapping=given) as scope:
                found = run(leaves, offsets)
            moved = [scope.get_current_value(variable) for variable in others]
            return found.heads, (found.seeds, found.outputs, found.values, found.loss, moved)

        values = {name: variable.value for name, variable in parameters.items()}
        offsets: dict[str, Any] = {}
        if inner:
            _, (_, _, shapes, _, _) = jax.eval_shape(function, leaves, values, {})
            offsets = {name: jnp.zeros(x.shape, x.dtype) for name, x in shapes.items()}
        heads, back, rest = jax.vjp(function, leaves, values, offsets, has_aux=True)
        seeds, outputs, between, loss, moved = rest
        for variable, value in zip(others, moved, strict=True):
            if value is not None:
                variable.assign(value)
        return Pass(heads, seeds, outputs, between, loss), Pulled(*back(seeds))

    def traced(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def compile(self, model: Any) -> None:
        model.jit_compile = True
        # The compiled step gives each buffer away, which two variables must not share then.
        for variable in model.optimizer.variables:
            variable._value = variable.value.copy()


ENGINE = _Jax()
