"""named_sequence: 3x10x9 -> 4 for each sample (channels last: 10x9x3)."""

import hashlib
import math

import keras
import numpy as np
from keras import initializers, layers, ops

PACKAGE = "named_sequence"


def he_normal():
    """Normal with variance 2 / fan_in; Keras' own of this name is truncated."""
    return initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


@keras.saving.register_keras_serializable(PACKAGE)
class LeakyRelu(layers.Layer):
    """x where x > 0, else slope * x; Keras' own rounds the slope to float32."""

    def __init__(self, slope, **kwargs):
        super().__init__(**kwargs)
        self.slope = slope

    def call(self, x):
        """Elementwise."""
        return ops.where(x > 0, x, self.slope * x)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "slope": self.slope}


@keras.saving.register_keras_serializable(PACKAGE)
class Elu(layers.Layer):
    """x where x > 0, else alpha * (exp(x) - 1), by expm1; Keras' own loses what is close to 0."""

    def __init__(self, alpha=1.0, **kwargs):
        super().__init__(**kwargs)
        self.alpha = alpha

    def call(self, x):
        """Elementwise."""
        return ops.where(x > 0, x, self.alpha * ops.expm1(ops.where(x > 0, 0.0, x)))

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "alpha": self.alpha}


def philox(counters, step, layer, seed):
    """Philox4x32-10: four 32-bit words, held in int64, for each counter."""
    mask = 0xFFFFFFFF
    xor = ops.bitwise_xor

    def low(x):
        return ops.bitwise_and(x, mask)

    def high(x):
        return low(ops.right_shift(x, 32))

    c0, c1 = low(counters), high(counters)
    c2, c3 = ops.full_like(c0, low(step)), ops.full_like(c0, layer)
    k0, k1 = seed & mask, (seed >> 32) & mask
    for _ in range(10):
        # A product of two 32-bit words wraps in int64; shift and mask still give both halves.
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1 = xor(xor(high(p1), c1), k0), low(p1)
        c2, c3 = xor(xor(high(p0), c3), k1), low(p0)
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return ops.reshape(ops.stack((c0, c1, c2, c3), -1), (-1,))


@keras.saving.register_keras_serializable(PACKAGE)
class CounterDropout(layers.Layer):
    """Dropout whose mask depends on seed, layer, step and position alone."""

    def __init__(self, p, seed, **kwargs):
        super().__init__(**kwargs)
        self.p, self.seed = p, seed
        # Its state, which is no weight, holds the step and the first sample's index.
        self.position = keras.random.SeedGenerator(0)

    def call(self, x, training=None):
        """In training keep each element with probability 1 - p, and scale it."""
        if not training or self.p == 0:
            return x
        if self.p == 1:
            return x * 0.0
        layer = hashlib.blake2b(self.name.encode(), digest_size=4).digest()
        step, first = ops.unstack(ops.cast(self.position.state, "int64"), 2)
        size = math.prod(x.shape[1:])
        count = ops.shape(x)[0] * size
        start = first * size
        blocks = start // 4 + ops.cast(ops.arange((count + 6) // 4), "int64")
        words = philox(blocks, step, int.from_bytes(layer, "little"), self.seed)
        words = ops.slice(words, [ops.cast(start % 4, "int32")], [count])
        # The masks count channels first.
        words = ops.moveaxis(ops.reshape(words, (-1, x.shape[-1], *x.shape[1:-1])), 1, -1)
        keep = words >= math.floor(self.p * 2**32)
        return ops.where(keep, x * (1 / (1 - self.p)), 0.0)

    def compute_output_shape(self, shape):
        """The input's."""
        return shape

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "p": self.p, "seed": self.seed}


def set_position(model, step, first=0):
    """Set completed updates, and the index of the first sample within the global batch."""
    for layer in model.layers:
        if isinstance(layer, CounterDropout):
            layer.position.state.assign([step, first])
        for block in vars(layer).get("blocks", []):  # a layer that repeats blocks
            set_position(block, step, first)


@keras.saving.register_keras_serializable(PACKAGE)
class BiasedBatchNorm(layers.BatchNormalization):
    """Batch norm that takes the mean away first; Keras on PyTorch squares and then subtracts."""

    def call(self, x, training=None, mask=None):
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


def cross_entropy(outputs, targets):
    """Sum of -log softmax(outputs)[label], and the number of labels."""
    labels = ops.cast(targets, "int32")
    # A copy, since Keras takes what goes into a sigmoid or softmax in the place of its value.
    losses = ops.sparse_categorical_crossentropy(labels, ops.copy(outputs), from_logits=True)
    return ops.sum(losses), ops.cast(ops.size(labels), losses.dtype)


def clip(gradients):
    """Gradients as the optimizer gets them: unchanged."""
    return gradients


class Optimizer(keras.optimizers.Optimizer):
    """Clipping, weight decay and variables' own options; how far to go is for subclasses."""

    def __init__(self, learning_rate, decay=0.0, decoupled=False, options=None, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.decay, self.decoupled, self.options = decay, decoupled, dict(options or {})

    def build(self, variables):
        """Options by the number of a variable: updates see none of its names."""
        super().build(variables)
        self.own = [self.options.get(variable.path, {}) for variable in variables]

    def apply(self, grads, trainable_variables=None):
        """Clip, then update."""
        super().apply(clip(grads), trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        """Decay, then take the change from the variable."""
        own = self.own[self._get_variable_index(variable)]
        rate = ops.cast(learning_rate, variable.dtype) * own.get("lr_scale", 1.0)
        decay = own.get("weight_decay", self.decay)
        gradient = ops.cast(gradient, variable.dtype)
        if decay and self.decoupled:
            self.assign(variable, variable * (1 - rate * decay))
        elif decay:
            gradient = gradient + decay * variable
        self.assign_sub(variable, self.change(gradient, variable, rate))

    def get_config(self):
        """The constructor's arguments."""
        own = {"decay": self.decay, "decoupled": self.decoupled, "options": self.options}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(PACKAGE)
class SGD(Optimizer):
    """SGD whose learning rate stays outside the momentum buffer."""

    def __init__(self, learning_rate, momentum=0.0, dampening=0.0, nesterov=False, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov

    def build(self, variables):
        """One momentum buffer for each variable."""
        if not self.built:
            super().build(variables)
            self.buffers = self.add_optimizer_variables(variables, "momentum")

    def change(self, gradient, variable, rate):
        """Set b = momentum * b + (1 - dampening) * g, at first g; rate * b."""
        if not self.momentum:
            return rate * gradient
        buffer = self.buffers[self._get_variable_index(variable)]
        share = 1 - self.dampening * ops.cast(self.iterations > 0, variable.dtype)
        self.assign(buffer, self.momentum * buffer + share * gradient)
        return rate * (gradient + self.momentum * buffer if self.nesterov else buffer)

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "dampening": self.dampening,
            "nesterov": self.nesterov,
        }


SEED = 3


def build_model():
    """3x10x9 -> 4 for each sample (channels last: 10x9x3)."""
    inputs = keras.Input((10, 9, 3), name="input")
    x = layers.Conv2D(
        6, 3, strides=2, padding="same", kernel_initializer=he_normal(), name="features.first"
    )(inputs)
    x = Elu(0.5, name="features.1")(x)
    x = layers.Conv2D(
        8, 2, use_bias=False, kernel_initializer=he_normal(), name="features.inner.0"
    )(x)
    x = BiasedBatchNorm(momentum=0.99, epsilon=0.001, name="features.inner.1")(x)
    x = LeakyRelu(0.2, name="features.inner.2")(x)
    x = layers.Flatten(name="features.3")(layers.Permute((3, 1, 2), name="features.3.permute")(x))
    x = layers.Rescaling(0.5, -0.25, name="rescale1")(x)
    x = layers.Dense(7, kernel_initializer=he_normal(), name="classifier.0")(x)
    x = CounterDropout(0.3, SEED, name="classifier.head.0")(x)
    x = layers.Dense(4, kernel_initializer=he_normal(), name="classifier.head.scores")(x)
    x = layers.Softmax(name="classifier.head.probabilities")(x)
    return keras.Model(inputs, x, name="named_sequence")


def logits_model(model):
    """The same layers without the last activation, which the loss contains."""
    return keras.Model(model.input, model.get_layer("classifier.head.probabilities").input)


CANONICAL = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


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


def loss_sum(outputs, targets):
    """Sum of the loss over a batch and its weight, for each output."""
    return {"output": cross_entropy(outputs, targets)}


@keras.saving.register_keras_serializable(PACKAGE)
class MeanLoss(keras.losses.Loss):
    """The mean loss."""

    def call(self, y_true, y_pred):
        """Sum over weight."""
        ((total, weight),) = loss_sum(y_pred, y_true).values()
        return total / weight


def make_optimizer(model):
    """The optimizer; `train_step` sets its learning rate before each update."""
    return SGD(0.05, momentum=0.9, nesterov=True)


def learning_rate(update, updates_per_epoch):
    """Learning rate of an update, which is counted from 0."""
    return 0.05


def compile_model(model, **options):
    """Compile `logits_model` for training."""
    model.compile(make_optimizer(model), MeanLoss(), jit_compile=False, **options)


def train_step(model, inputs, targets, update, updates_per_epoch):
    """One update of a compiled model; returns the loss before it."""
    set_position(model, update)
    model.optimizer.learning_rate = learning_rate(update, updates_per_epoch)
    return model.train_on_batch(inputs, targets, return_dict=True)["loss"]


class Schedule(keras.callbacks.Callback):
    """Makes the updates of `model.fit(..., shuffle=False)` those of `train_step`."""

    def __init__(self, updates_per_epoch, update=0):
        super().__init__()
        self.updates_per_epoch, self.update = updates_per_epoch, update

    def on_train_batch_begin(self, batch, logs=None):
        """Set what depends on the update, and count it."""
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # else `fit` overwrites what is set
        set_position(self.model, self.update)
        self.model.optimizer.learning_rate = learning_rate(self.update, self.updates_per_epoch)
        self.update += 1
