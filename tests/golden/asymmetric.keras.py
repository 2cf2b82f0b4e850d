"""asymmetric: 2x11x9 -> distances 3, map 4x2x3 for each sample (channels last: 11x9x2)."""

import math

import keras
import numpy as np
from keras import initializers, layers, ops

PACKAGE = "asymmetric"


def he_normal():
    """Normal with variance 2 / fan_in; Keras' own of this name is truncated."""
    return initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal")


@keras.saving.register_keras_serializable(PACKAGE)
class PRelu(layers.Layer):
    """x where x > 0, else weight * x; the derivative at 0 is the weight, in Keras' own it is 0."""

    def __init__(self, parameters, initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.parameters = parameters
        self.initializer = initializers.get(initializer or initializers.Constant(0.25))

    def build(self, shape):
        """One weight for each channel, or one for all."""
        self.weight = self.add_weight((self.parameters,), self.initializer, name="weight")

    def call(self, x):
        """Elementwise."""
        return ops.where(x > 0, x, self.weight * x)

    def get_config(self):
        """The constructor's arguments."""
        initializer = initializers.serialize(self.initializer)
        return {**super().get_config(), "parameters": self.parameters, "initializer": initializer}


@keras.saving.register_keras_serializable(PACKAGE)
class TrueConv2D(layers.Conv2D):
    """True convolution: the kernel is flipped each time it is used."""

    def convolution_op(self, inputs, kernel):
        """Convolve with the flipped kernel."""
        return super().convolution_op(inputs, ops.flip(kernel, (0, 1)))


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


def depthwise_conv(x, kernel, strides, dilation, padding="valid"):
    """Every channel by itself; where there is a depth, the sum over its taps."""
    if len(strides) == 3:
        parts = []
        for i in range(kernel.shape[0]):
            end = x.shape[1] - (kernel.shape[0] - 1 - i) * dilation[0]
            part = x[:, i * dilation[0] : end : strides[0]]
            depth = part.shape[1]
            part = ops.reshape(part, (-1, *x.shape[2:]))
            parts.append(depthwise_conv(part, kernel[i], strides[1:], dilation[1:]))
        y = sum(parts[1:], parts[0])
        return ops.reshape(y, (-1, depth, *y.shape[1:]))
    if len(set(strides)) == 1 and max(dilation) == 1:
        return ops.depthwise_conv(x, kernel, strides, padding)
    # TensorFlow has one stride for all axes, and none with dilation.
    ones = (1,) * len(strides)
    y = ops.depthwise_conv(x, kernel, ones, padding, dilation_rate=dilation)
    return y[(slice(None), *(slice(None, None, stride) for stride in strides))]


def grouped_conv(x, kernel, groups, strides, dilation, padding="valid"):
    """Each group of channels by itself; the kernel is (*size, channels / groups, filters)."""
    *size, channels, filters = kernel.shape
    if channels > 4 or groups == 1:
        split = zip(ops.split(x, groups, -1), ops.split(kernel, groups, -1), strict=True)
        made = [ops.conv(part, w, strides, padding, dilation_rate=dilation) for part, w in split]
        return ops.concatenate(made, -1)
    # With few channels in a group, the filters of each channel first, and then their sum.
    each = filters // groups
    kernel = ops.swapaxes(ops.reshape(kernel, (*size, channels, groups, each)), -3, -2)
    kernel = ops.reshape(kernel, (*size, groups * channels, each))
    y = depthwise_conv(x, kernel, strides, dilation, padding)
    space = y.shape[1:-1]
    y = ops.sum(ops.reshape(y, (-1, *space, groups, channels, each)), -2)
    return ops.reshape(y, (-1, *space, filters))


@keras.saving.register_keras_serializable(PACKAGE)
class GroupedConv2D(layers.Conv2D):
    """A grouped convolution that is not compiled anew at every eager call."""

    def convolution_op(self, inputs, kernel):
        """Convolve group by group."""
        return grouped_conv(
            inputs, kernel, self.groups, self.strides, self.dilation_rate, self.padding
        )


@keras.saving.register_keras_serializable(PACKAGE)
class Rbf(layers.Layer):
    """Squared distance of the input to each of its centres."""

    def __init__(self, units, initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.initializer = initializers.get(initializer or initializers.RandomNormal(stddev=1.0))

    def build(self, shape):
        """Centres of shape (units, features)."""
        self.weight = self.add_weight((self.units, shape[-1]), self.initializer, name="weight")

    def call(self, x):
        """(N, features) to (N, units)."""
        return ops.sum(ops.square(x[:, None, :] - self.weight), 2)

    def get_config(self):
        """The constructor's arguments."""
        initializer = initializers.serialize(self.initializer)
        return {**super().get_config(), "units": self.units, "initializer": initializer}


def pool_windows(pool, x, kernel, strides):
    """Pool, depth after height and width: TensorFlow has no float64 kernel for all three."""
    if len(kernel) < 3:
        return pool(x, kernel, strides)
    depth, height, width, channels = x.shape[1:]
    x = ops.reshape(x, (-1, height, width, channels))
    x = pool(x, kernel[1:], strides[1:])
    height, width = x.shape[1:3]
    x = ops.reshape(x, (-1, depth, height * width, channels))
    x = pool(x, (kernel[0], 1), (strides[0], 1))
    return ops.reshape(x, (-1, x.shape[1], height, width, channels))


class PaddedPool(layers.Layer):
    """Pooling over explicit pads, which the subclasses fill."""

    def __init__(self, kernel, strides=None, pads=None, **kwargs):
        super().__init__(**kwargs)
        self.kernel, self.strides = kernel, strides or kernel
        self.pads = pads or [(0, 0)] * len(kernel)

    def pad(self, x, value):
        """Pad the axes of space."""
        return ops.pad(x, [(0, 0), *self.pads, (0, 0)], constant_values=value)

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "kernel": self.kernel,
            "strides": self.strides,
            "pads": self.pads,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class MaxPool(PaddedPool):
    """Max pooling over explicit pads, which count as minus infinity."""

    def call(self, x):
        """Pad, then pool."""
        return pool_windows(ops.max_pool, self.pad(x, -math.inf), self.kernel, self.strides)


@keras.saving.register_keras_serializable(PACKAGE)
class AvgPool(PaddedPool):
    """Average pooling over explicit pads; `counted` of them count as elements."""

    def __init__(self, kernel, counted=None, **kwargs):
        super().__init__(kernel, **kwargs)
        self.counted = counted or [(0, 0)] * len(kernel)

    def call(self, x):
        """The windows' means, made good for the elements that do not count."""
        ones = ops.ones_like(x[:1])
        ones = ops.pad(ones, [(0, 0), *self.counted, (0, 0)], constant_values=1.0)
        rest = [
            (pad[0] - counted[0], pad[1] - counted[1])
            for pad, counted in zip(self.pads, self.counted, strict=True)
        ]
        ones = ops.pad(ones, [(0, 0), *rest, (0, 0)])
        share = pool_windows(ops.average_pool, ones, self.kernel, self.strides)
        x = pool_windows(ops.average_pool, self.pad(x, 0.0), self.kernel, self.strides)
        return x / share

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "counted": self.counted}


@keras.saving.register_keras_serializable(PACKAGE)
class SumPool(PaddedPool):
    """Sum pooling over explicit pads, which count as 0."""

    def call(self, x):
        """The windows' means times their size."""
        means = pool_windows(ops.average_pool, self.pad(x, 0.0), self.kernel, self.strides)
        return means * math.prod(self.kernel)


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


def build_model():
    """2x11x9 -> distances 3, map 4x2x3 for each sample (channels last: 11x9x2)."""
    inputs = keras.Input((11, 9, 2), name="input")
    x = layers.Conv2D(4, (3, 4), kernel_initializer=he_normal(), name="conv1")(
        Pad(((0, 2), (3, 1)), "reflect", name="conv1.pad")(inputs)
    )
    x = layers.Activation("silu", name="silu1")(x)
    x = GroupedConv2D(
        4, 3, dilation_rate=2, groups=2, kernel_initializer=he_normal(), name="conv2"
    )(layers.ZeroPadding2D(((1, 0), (2, 2)), name="conv2.pad")(x))
    x = PRelu(4, name="act")(x)
    x = MaxPool((3, 3), pads=((0, 1), (1, 1)), strides=(2, 2), name="max_pool1")(x)
    x = AvgPool((2, 2), pads=((0, 1), (0, 1)), strides=(1, 1), name="avg_pool1")(x)
    x = TrueConv2D(4, 2, kernel_initializer=he_normal(), name="conv3")(
        layers.ZeroPadding2D(1, name="conv3.pad")(x)
    )
    pooled = SumPool((2, 2), name="pooled")(x)
    x = layers.Flatten(name="flatten1")(layers.Permute((3, 1, 2), name="flatten1.permute")(pooled))
    x = Rbf(3, name="centres")(x)
    return keras.Model(inputs, {"distances": x, "map": pooled}, name="asymmetric")


CANONICAL = {"kernel": "weight", "bias": "bias", "weight": "weight"}


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


LOSSES = {"distances": squared_error, "map": squared_error}

LOSS_WEIGHTS = {"distances": 1.0, "map": 0.25}


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
    return SGD(1e-05)


def learning_rate(update, updates_per_epoch):
    """Learning rate of an update, which is counted from 0."""
    return 1e-05


def compile_model(model, **options):
    """Compile the model for training."""
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
