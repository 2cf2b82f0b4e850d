"""mini_resnet: 3x24x24 -> 10 for each sample (channels last: 24x24x3)."""

import keras
import numpy as np
from keras import initializers, layers


def he_normal():
    """Normal with variance 2 / fan_in; Keras' own of this name is truncated."""
    return initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


def build_model():
    """3x24x24 -> 10 for each sample (channels last: 24x24x3)."""
    inputs = keras.Input((24, 24, 3), name="input")
    x = layers.Conv2D(16, 3, padding="same", kernel_initializer=he_normal(), name="conv1")(inputs)
    stem = layers.ReLU(name="stem")(x)
    x = layers.Conv2D(16, 3, padding="same", kernel_initializer=he_normal(), name="conv2")(stem)
    x = layers.ReLU(name="relu1")(x)
    x = layers.Conv2D(16, 3, padding="same", kernel_initializer=he_normal(), name="conv3")(x)
    x = layers.Add(name="add1")([x, stem])
    block1 = layers.ReLU(name="block1")(x)
    x = layers.Conv2D(32, 3, strides=2, kernel_initializer=he_normal(), name="main.0")(
        layers.ZeroPadding2D(((1, 0), (1, 0)), name="main.0.pad")(block1)
    )
    x = layers.ReLU(name="main.1")(x)
    main = layers.Conv2D(32, 3, padding="same", kernel_initializer=he_normal(), name="main.2")(x)
    x = layers.Conv2D(32, 1, strides=2, kernel_initializer=he_normal(), name="downsample.0")(block1)
    x = layers.Add(name="add2")([main, x])
    x = layers.ReLU(name="relu2")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="global_avg_pool1")(x)
    x = layers.Flatten(name="flatten1")(x)
    x = layers.Dense(10, kernel_initializer=he_normal(), name="fc")(x)
    x = layers.Softmax(name="softmax1")(x)
    return keras.Model(inputs, x, name="mini_resnet")


CANONICAL = {"kernel": "weight", "bias": "bias"}


def weights_by_name(model):
    """Canonical name -> variable."""
    found = {}
    for layer in model.layers:
        for variable in layer.weights:
            found[f"{layer.name}.{CANONICAL[variable.name]}"] = variable
    return found


def load_weights(model, path):
    """Load a safetensors file of canonical names and layouts."""
    from safetensors.numpy import load_file

    state, variables = load_file(path), weights_by_name(model)
    if state.keys() != variables.keys():
        raise ValueError(f"{path} differs in {sorted(state.keys() ^ variables.keys())}")
    for name, variable in variables.items():
        value = state[name]
        if variable.name == "kernel":
            value = np.moveaxis(value, (0, 1), (-1, -2))
        variable.assign(value)


def save_weights(model, path):
    """Save parameters and running statistics under canonical names."""
    from safetensors.numpy import save_file

    state = {}
    for name, variable in weights_by_name(model).items():
        value = variable.numpy()
        if variable.name == "kernel":
            value = np.moveaxis(value, (-1, -2), (0, 1))
        state[name] = np.ascontiguousarray(value)
    save_file(state, path)
