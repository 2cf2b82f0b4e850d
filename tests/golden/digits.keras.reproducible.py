"""digits: 1x8x8 -> 10 for each sample (channels last: 8x8x1)."""

import hashlib
import math

import keras
import numpy as np
from keras import initializers, layers, ops

PACKAGE = "digits"


def he_normal():
    """Normal with variance 2 / fan_in; Keras' own of this name is truncated."""
    return initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


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
class BatchNorm(layers.BatchNormalization):
    """Batch norm whose running variance is the unbiased one."""

    def call(self, x, training=None, mask=None):
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
class Adam(Optimizer):
    """Adam with epsilon beside the corrected root."""

    def __init__(self, learning_rate, betas=(0.9, 0.999), epsilon=1e-8, amsgrad=False, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.betas, self.epsilon, self.amsgrad = betas, epsilon, amsgrad

    def build(self, variables):
        """Two moments for each variable, and the largest second one."""
        if not self.built:
            super().build(variables)
            self.first = self.add_optimizer_variables(variables, "first")
            self.second = self.add_optimizer_variables(variables, "second")
            if self.amsgrad:
                self.largest = self.add_optimizer_variables(variables, "largest")

    def change(self, gradient, variable, rate):
        """Rate / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)."""
        index = self._get_variable_index(variable)
        first, second = self.first[index], self.second[index]
        b1, b2 = self.betas
        t = ops.cast(self.iterations + 1, variable.dtype)
        self.assign_add(first, (1 - b1) * (gradient - first))
        self.assign_add(second, (1 - b2) * (ops.square(gradient) - second))
        if self.amsgrad:
            self.assign(self.largest[index], ops.maximum(self.largest[index], second))
            second = self.largest[index]
        # The correction of the root goes to rate and epsilon, which are scalars.
        root = ops.sqrt(1 - b2**t)
        return rate * root / (1 - b1**t) * first / (ops.sqrt(second) + self.epsilon * root)

    def get_config(self):
        """The constructor's arguments."""
        own = {"betas": self.betas, "epsilon": self.epsilon, "amsgrad": self.amsgrad}
        return {**super().get_config(), **own}


SEED = 0


def build_model():
    """1x8x8 -> 10 for each sample (channels last: 8x8x1)."""
    inputs = keras.Input((8, 8, 1), name="input")
    x = layers.Conv2D(
        16, 3, padding="same", use_bias=False, kernel_initializer=he_normal(), name="conv1"
    )(inputs)
    x = BatchNorm(momentum=0.9, epsilon=1e-05, name="bn1")(x)
    x = layers.ReLU(name="relu1")(x)
    x = layers.Conv2D(
        32, 3, padding="same", use_bias=False, kernel_initializer=he_normal(), name="conv2"
    )(x)
    x = BatchNorm(momentum=0.9, epsilon=1e-05, name="bn2")(x)
    x = layers.ReLU(name="relu2")(x)
    x = layers.MaxPooling2D(2, name="max_pool1")(x)
    x = CounterDropout(0.25, SEED, name="dropout1")(x)
    x = layers.Flatten(name="flatten1")(layers.Permute((3, 1, 2), name="flatten1.permute")(x))
    x = layers.Dense(64, kernel_initializer=he_normal(), name="fc1")(x)
    x = layers.ReLU(name="relu3")(x)
    x = layers.Dense(10, kernel_initializer=he_normal(), name="fc2")(x)
    x = layers.Softmax(name="softmax1")(x)
    return keras.Model(inputs, x, name="digits")


def logits_model(model):
    """The same layers without the last activation, which the loss contains."""
    return keras.Model(model.input, model.get_layer("softmax1").input)


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
    return Adam(0.004, betas=(0.9, 0.999), epsilon=1e-08)


def learning_rate(update, updates_per_epoch):
    """Learning rate of an update, which is counted from 0."""
    return 0.004 * 0.8 ** (update // updates_per_epoch)


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
