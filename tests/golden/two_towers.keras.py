"""two_towers: left 1x16x16, right 1x16x16, sensors 7 -> kind 4, position 2 for each sample."""

import keras
import numpy as np
from keras import initializers, layers, ops

PACKAGE = "two_towers"


def he_normal():
    """Normal with variance 2 / fan_in; Keras' own of this name is truncated."""
    return initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


@keras.saving.register_keras_serializable(PACKAGE)
class Selu(layers.Layer):
    """Scaled ELU; the derivative at 0 is that of the negative side, in TensorFlow's it is not."""

    def call(self, x):
        """Elementwise."""
        negative = 1.6732632423543772848 * ops.expm1(ops.minimum(x, 0))
        return 1.0507009873554804934 * ops.where(x > 0, x, negative)


@keras.saving.register_keras_serializable(PACKAGE)
class Gelu(layers.Layer):
    """x / 2 * (1 + erf(x / sqrt 2)); Keras' own rounds its constants to float32."""

    def call(self, x):
        """Elementwise."""
        return 0.5 * x * (1 + ops.erf(x * 0.7071067811865476))


@keras.saving.register_keras_serializable(PACKAGE)
class Pad(layers.Layer):
    """Padding with the input's own values: `reflect`, `replicate` or `circular`."""

    def __init__(self, pads, mode, **kwargs):
        super().__init__(**kwargs)
        self.pads, self.mode = pads, mode

    def call(self, x):
        """Gather along each axis of space."""
        for axis, (before, after) in enumerate(self.pads, start=1):
            size = x.shape[axis]
            places = list(range(-before, size + after))
            if self.mode == "reflect":
                places = [abs(i) if i < size else 2 * (size - 1) - i for i in places]
            elif self.mode == "replicate":
                places = [min(max(i, 0), size - 1) for i in places]
            else:
                places = [i % size for i in places]
            x = ops.take(x, places, axis)
        return x

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "pads": self.pads, "mode": self.mode}


def cross_entropy(outputs, targets):
    """Sum of -log softmax(outputs)[label], and the number of labels."""
    labels = ops.cast(targets, "int32")
    # A copy, since Keras takes what goes into a sigmoid or softmax in the place of its value.
    losses = ops.sparse_categorical_crossentropy(labels, ops.copy(outputs), from_logits=True)
    return ops.sum(losses), ops.cast(ops.size(labels), losses.dtype)


def squared_error(outputs, targets):
    """Sum of (output - target)^2, and the number of elements."""
    losses = ops.square(outputs - targets)
    return ops.sum(losses), ops.cast(ops.size(losses), losses.dtype)


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


def build_model():
    """left 1x16x16, right 1x16x16, sensors 7 -> kind 4, position 2 for each sample."""
    left = keras.Input((16, 16, 1), name="left")
    right = keras.Input((16, 16, 1), name="right")
    sensors = keras.Input((7,), name="sensors")
    eye = layers.Conv2D(12, 3, padding="same", kernel_initializer=he_normal(), name="eye")
    x = eye(left)
    x = Gelu(name="gelu1")(x)
    left_features = layers.MaxPooling2D(2, name="left_features")(x)
    x = eye(right)
    x = Gelu(name="gelu2")(x)
    right_features = layers.MaxPooling2D(2, name="right_features")(x)
    x = layers.Concatenate(name="concat1")([left_features, right_features])
    x = layers.Conv2D(20, 3, kernel_initializer=he_normal(), name="mix")(
        Pad(((1, 1), (1, 1)), "reflect", name="mix.pad")(x)
    )
    x = Selu(name="selu1")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="global_avg_pool1")(x)
    seen = layers.Flatten(name="seen")(x)
    x = layers.Dense(6, kernel_initializer=he_normal(), name="felt")(sensors)
    state_of_sensors = layers.Activation("tanh", name="state_of_sensors")(x)
    both = layers.Concatenate(name="both")([seen, state_of_sensors])
    x = layers.Dense(4, kernel_initializer=he_normal(), name="kinds")(both)
    kind = layers.Softmax(name="kind")(x)
    x = layers.Dense(2, kernel_initializer=he_normal(), name="place")(both)
    position = layers.Activation("sigmoid", name="position")(x)
    return keras.Model(
        {"left": left, "right": right, "sensors": sensors},
        {"kind": kind, "position": position},
        name="two_towers",
    )


def logits_model(model):
    """The same layers without the last activation, which the loss contains."""
    outputs = {**model.output, "kind": model.get_layer("kind").input}
    return keras.Model(model.input, outputs)


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


LOSSES = {"kind": cross_entropy, "position": squared_error}

LOSS_WEIGHTS = {"kind": 1.0, "position": 0.5}


def loss_sum(outputs, targets):
    """Sum of the loss over a batch and its weight, for each output."""
    return {name: LOSSES[name](outputs[name], targets[name]) for name in outputs}


@keras.saving.register_keras_serializable(PACKAGE)
class MeanLoss(keras.losses.Loss):
    """The mean loss of the output of this name."""

    def call(self, y_true, y_pred):
        """Sum over weight."""
        losses = loss_sum({self.name: y_pred}, {self.name: y_true})
        total, weight = losses[self.name]
        return total / weight


def make_optimizer(model):
    """The optimizer; `train_step` sets its learning rate before each update."""
    return Adam(0.001, betas=(0.9, 0.999), epsilon=1e-08)


def learning_rate(update, updates_per_epoch):
    """Learning rate of an update, which is counted from 0."""
    return 0.001


def compile_model(model, **options):
    """Compile `logits_model` for training."""
    model.compile(
        make_optimizer(model),
        {name: MeanLoss(name=name) for name in LOSSES},
        loss_weights=LOSS_WEIGHTS,
        jit_compile=False,
        **options,
    )


def train_step(model, inputs, targets, update, updates_per_epoch):
    """One update of a compiled model; returns the loss before it."""
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
        self.model.optimizer.learning_rate = learning_rate(self.update, self.updates_per_epoch)
        self.update += 1
