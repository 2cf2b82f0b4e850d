"""Training in Keras through cnnspec's loop, against `fit`."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

import cnnspec
from benchmarks.harness import Result
from benchmarks.keras_model import by_hand
from benchmarks.train_torch import with_batch
from benchmarks.training import epochs, images, reaches

BATCH = 128


def run() -> list[Result]:
    """LeNet, Adam, batches of 128, on one thread; `fit` shuffles arrays in memory as well."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    graph = with_batch(cnnspec.load("specs/lenet_keras.yaml"), BATCH)
    data = images(graph, 2048, 10)
    inputs, targets = data.train.take(slice(None))
    x, y = np.ascontiguousarray(np.moveaxis(inputs["input"], 1, -1)), targets["output"]
    results = []
    for name, jit in (("fit", "auto"), ("fit without XLA", False)):
        model = by_hand(last=None)
        model.compile(
            keras.optimizers.Adam(0.001),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=jit,
        )

        def theirs(model: keras.Model = model) -> object:
            return model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)

        found = epochs(
            "keras LeNet, an epoch of 2,048 in batches of 128",
            name,
            graph,
            "keras",
            data,
            theirs,
            repeats=5,
        )
        results.append(reaches(found, 0.97))
    return results
