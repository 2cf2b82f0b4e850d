"""What comes after an update, and what weights cost: parts of an optimizer and of a model."""

from __future__ import annotations

from typing import Any

from keras import ops


class AfterUpdate:
    """Constraints and the moving average of the weights, after an optimizer's update.

    `limits` has the largest norm of a unit's weights and the axes they lie along, by path.
    """

    def __init__(self, *args: Any, limits: Any = None, average: Any = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.limits, self.average = dict(limits or {}), average

    def build(self: Any, variables: Any) -> None:
        """The averages start at the weights."""
        optimizer: Any = super()
        if not self.built:
            optimizer.build(variables)
            self.averages = []
            if self.average is not None:
                self.averages = self.add_optimizer_variables(variables, "average")
                for average, variable in zip(self.averages, variables, strict=True):
                    average.assign(variable)

    def apply(self: Any, grads: Any, trainable_variables: Any = None) -> None:
        """Update, constrain, average."""
        optimizer: Any = super()
        optimizer.apply(grads, trainable_variables)
        for index, variable in enumerate(self._trainable_variables):
            if variable.path in self.limits:
                largest, axes = self.limits[variable.path]
                norm = ops.sqrt(ops.sum(ops.square(variable), tuple(axes), keepdims=True))
                limit = ops.full_like(norm, largest)
                variable.assign(variable * (limit / ops.where(norm > limit, norm, limit)))
            if self.average is not None:
                average = self.averages[index]
                average.assign(self.average * average + (1 - self.average) * variable)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        optimizer: Any = super()
        own = {"limits": self.limits, "average": self.average}
        return {**optimizer.get_config(), **own}


def penalty(l1: float, l2: float) -> Any:
    """A regularizer: l1 |w| + l2 / 2 w^2; Keras' own rounds its factors to float32."""
    return lambda w: l1 * ops.sum(ops.abs(w)) + l2 / 2 * ops.sum(ops.square(w))
