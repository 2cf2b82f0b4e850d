"""Layers that Keras does not have, or has with another meaning."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import initializers, layers, ops

from cnnspec.backends.keras.helpers.package import PACKAGE


@keras.saving.register_keras_serializable(PACKAGE)
class BatchNorm(layers.BatchNormalization):
    """Batch norm whose running variance is the unbiased one."""

    def call(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise; in training move the running statistics."""
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            if None not in x.shape and math.prod(x.shape) == x.shape[-1]:
                raise ValueError("batch norm needs more than one value for each channel")
            axes = tuple(range(len(x.shape) - 1))
            old, new = self.momentum, 1 - self.momentum
            mean = ops.mean(x, axes)
            variance = ops.mean(ops.square(x - mean), axes)
            count = ops.cast(ops.size(x), x.dtype) / x.shape[-1]
            unbiased = variance * (count / (count - 1))
            self.moving_mean.assign(old * self.moving_mean + new * mean)
            self.moving_variance.assign(old * self.moving_variance + new * unbiased)
        scale = 1 / ops.sqrt(variance + self.epsilon)
        if self.scale:
            scale = self.gamma * scale
        y = (x - mean) * scale
        return y + self.beta if self.center else y


@keras.saving.register_keras_serializable(PACKAGE)
class BiasedBatchNorm(layers.BatchNormalization):
    """Batch norm that takes the mean away first; Keras on PyTorch squares and then subtracts."""

    def call(self, x: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise; in training move the running statistics."""
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            axes = tuple(range(len(x.shape) - 1))
            old, new = self.momentum, 1 - self.momentum
            mean = ops.mean(x, axes)
            variance = ops.mean(ops.square(x - mean), axes)
            self.moving_mean.assign(old * self.moving_mean + new * mean)
            self.moving_variance.assign(old * self.moving_variance + new * variance)
        scale = 1 / ops.sqrt(variance + self.epsilon)
        if self.scale:
            scale = self.gamma * scale
        y = (x - mean) * scale
        return y + self.beta if self.center else y


@keras.saving.register_keras_serializable(PACKAGE)
class After(layers.Layer):
    """The first of two values, computed after the second: shared statistics move in that order."""

    def call(self, pair: Any) -> Any:
        """Unchanged."""
        return pair[0]

    def compute_output_shape(self, shapes: Any) -> Any:
        """The first one's."""
        return shapes[0]


@keras.saving.register_keras_serializable(PACKAGE)
class Rbf(layers.Layer):
    """Squared distance of the input to each of its centres."""

    def __init__(self, units: int, initializer: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.initializer = initializers.get(initializer or initializers.RandomNormal(stddev=1.0))

    def build(self, shape: Any) -> None:
        """Centres of shape (units, features)."""
        self.weight = self.add_weight((self.units, shape[-1]), self.initializer, name="weight")

    def call(self, x: Any) -> Any:
        """(N, features) to (N, units)."""
        return ops.sum(ops.square(x[:, None, :] - self.weight), 2)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        initializer = initializers.serialize(self.initializer)
        return {**super().get_config(), "units": self.units, "initializer": initializer}


@keras.saving.register_keras_serializable(PACKAGE)
class Rescale(layers.Layer):
    """Scale times x plus offset; Keras' own rounds both to float32."""

    def __init__(self, scale: float, offset: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset

    def call(self, x: Any) -> Any:
        """Elementwise."""
        return self.scale * x + self.offset

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}


def chain(x: Any, block: Any, indices: Any) -> list[keras.Model]:
    """A model for each index, which `block(x, index)` builds on what the one before gives."""
    models = []
    for index in indices:
        inputs = keras.Input(x.shape[1:])
        models.append(keras.Model(inputs, block(inputs, index)))
        x = models[-1].output
    return models


def all_layers(model: keras.Model) -> list[Any]:
    """The layers of a model, and those of the blocks that are repeated inside a layer."""
    found = []
    for layer in model.layers:
        if isinstance(layer, Repeated):
            found += [inner for block in layer.blocks for inner in all_layers(block)]
        else:
            found.append(layer)
    return found


@keras.saving.register_keras_serializable(PACKAGE)
class Repeated(layers.Layer):
    """Many blocks as one layer: Keras recurses along every layer of a functional model's path."""

    def __init__(self, blocks: list[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.blocks = [
            keras.saving.deserialize_keras_object(b) if isinstance(b, dict) else b for b in blocks
        ]

    def build(self, shape: Any) -> None:
        """The blocks are built already."""

    def call(self, x: Any, training: bool | None = None) -> Any:
        """One after another."""
        for block in self.blocks:
            x = block(x, training=training)
        return x

    def compute_output_shape(self, shape: Any) -> Any:
        """That of the last block."""
        return self.blocks[-1].output_shape

    def get_config(self) -> dict[str, Any]:
        """The blocks, serialized."""
        blocks = [keras.saving.serialize_keras_object(block) for block in self.blocks]
        return {**super().get_config(), "blocks": blocks}
