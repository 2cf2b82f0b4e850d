"""A compiled Keras file against the same network written by hand."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks.emitted import BATCH, WITHIN, lenet, within
from benchmarks.harness import Result, clock_of, compare


def by_hand(*, last: str | None) -> Any:
    """As in a tutorial; `Permute` because the weights are to fit the spec's flatten order."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(20, 5, padding="same"),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Conv2D(50, 5, padding="same"),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Permute((3, 1, 2)),
            layers.Flatten(),
            layers.Dense(500),
            layers.ReLU(),
            layers.Dense(10),
            *([layers.Softmax()] if last else []),
        ]
    )


def run() -> list[Result]:
    """Inference by calling the model, plain and as a graph, `predict` and `train_on_batch`."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(BATCH, 28, 28, 1)), tf.float32)
    y = tf.constant(rng.integers(0, 10, BATCH))
    module, ours = lenet("keras")
    theirs = by_hand(last="softmax")
    results = []
    for name, call in (("call", lambda model: model), ("call in tf.function", tf.function)):
        pair = [call(ours), call(theirs)]
        results.append(
            within(
                compare(
                    f"keras LeNet, {name} on {BATCH}",
                    "the same by hand",
                    clock_of(lambda model=pair[0]: model(x, training=False)),  # type: ignore[misc]
                    clock_of(lambda model=pair[1]: model(x, training=False)),  # type: ignore[misc]
                    limit=WITHIN,
                )
            )
        )
    pixels = x.numpy()
    results.append(
        within(
            compare(
                f"keras LeNet, predict on {BATCH}",
                "the same by hand",
                clock_of(lambda: ours.predict(pixels, verbose=0)),
                clock_of(lambda: theirs.predict(pixels, verbose=0)),
                limit=WITHIN,
            )
        )
    )
    trained, hand = module.logits_model(ours), by_hand(last=None)
    module.compile_model(trained)
    hand.compile(
        keras.optimizers.Adam(0.001),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    results.append(
        within(
            compare(
                f"keras LeNet, train_on_batch of {BATCH}",
                "the same by hand",
                clock_of(lambda: trained.train_on_batch(x, y)),
                clock_of(lambda: hand.train_on_batch(x, y)),
                limit=WITHIN,
            )
        )
    )
    return results
