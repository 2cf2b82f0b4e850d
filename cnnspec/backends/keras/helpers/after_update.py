"""What comes after an update, and what weights cost: parts of an optimizer and of a model."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from cnnspec.backends.keras.helpers.package import PACKAGE


class AfterUpdate:
    """Constraints and the moving average of the weights, after an optimizer's update.

    `limits` has the largest norm of a unit's weights and the axes they lie along, by path.
    """

    def __init__(self, *args: Any, limits: Any = None, average: Any = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.limits, self.average = dict(limits or {}), average

    def build(self, variables: Any) -> None:
        """The averages start at the weights."""
        optimizer: Any = super()
        if not optimizer.built:
            optimizer.build(variables)
            self.averages = []
            if self.average is not None:
                self.averages = self.add_optimizer_variables(variables, "average")  # type: ignore[attr-defined] # the same
                for average, variable in zip(self.averages, variables, strict=True):
                    average.assign(variable)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Update, constrain, average."""
        optimizer: Any = super()
        optimizer.apply(grads, trainable_variables)
        variables: Any = self._trainable_variables  # type: ignore[attr-defined] # the same
        for index, variable in enumerate(variables):
            if variable.path in self.limits:
                limit, axes = self.limits[variable.path]
                norm = ops.sqrt(ops.sum(ops.square(variable), tuple(axes), keepdims=True))
                limit = ops.full_like(norm, limit)
                variable.assign(variable * (limit / ops.where(norm > limit, norm, limit)))
            if self.average is not None:
                average = self.averages[index]
                average.assign(self.average * average + (1 - self.average) * variable)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        optimizer: Any = super()
        own = {"limits": self.limits, "average": self.average}
        return {**optimizer.get_config(), **own}


@keras.saving.register_keras_serializable(PACKAGE)
class Penalty(keras.regularizers.Regularizer):
    """l1 |w| + l2 / 2 w^2; Keras' own rounds its factors to float32."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1, self.l2 = l1, l2

    def __call__(self, x: Any) -> Any:
        """The sum over all weights."""
        return self.l1 * ops.sum(ops.abs(x)) + self.l2 / 2 * ops.sum(ops.square(x))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"l1": self.l1, "l2": self.l2}
