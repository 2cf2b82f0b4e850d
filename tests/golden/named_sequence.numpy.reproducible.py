"""named_sequence: 3x10x9 -> 4 for each sample."""

import hashlib
import math

import numpy as np


class Layer:
    """Parameters, running statistics and summed gradients, by name."""

    def __init__(self):
        self.parameters = {}
        self.statistics = {}
        self.gradients = {}
        self.frozen = set()

    def accumulate(self, name, gradient):
        """Add to a parameter's gradient: a shared layer is used several times."""
        if name not in self.frozen:
            known = self.gradients.get(name)
            self.gradients[name] = gradient if known is None else known + gradient


def walk(item, path, seen):
    """Yield (path, layer) for every layer in `item`, a shared one under its first path only."""
    if isinstance(item, Layer) and id(item) not in seen:
        seen.add(id(item))
        yield path, item
    elif isinstance(item, Model | dict | list):
        children = vars(item) if isinstance(item, Model) else item
        pairs = enumerate(children) if isinstance(children, list) else children.items()
        for name, child in pairs:
            yield from walk(child, f"{path}.{name}" if path else str(name), seen)


class Model:
    """A network or a part of one; its attributes: layers, models, lists or dicts of these."""

    def layers(self):
        """Every layer with its path, such as ("block1.conv2", ...), in order of construction."""
        return list(walk(self, "", set()))

    def parameters(self):
        """Every parameter by name, such as "block1.conv2.weight"."""
        return {
            f"{path}.{k}": v for path, x in walk(self, "", set()) for k, v in x.parameters.items()
        }

    def gradients(self):
        """The gradients summed so far, by the name of their parameter."""
        return {
            f"{path}.{k}": v for path, x in walk(self, "", set()) for k, v in x.gradients.items()
        }

    def zero_gradients(self):
        """Forget the gradients summed so far."""
        for _, layer in walk(self, "", set()):
            layer.gradients = {}

    def state(self):
        """Parameters and running statistics by name."""
        return {
            f"{path}.{name}": array
            for path, layer in walk(self, "", set())
            for name, array in (layer.parameters | layer.statistics).items()
        }

    def load_state(self, state):
        """Copy values in; the model keeps its dtype."""
        own = self.state()
        missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unexpected:
            raise ValueError(f"missing: {missing}, unexpected: {unexpected}")
        for name, array in own.items():
            if array.shape != state[name].shape:
                raise ValueError(f"{name}: {state[name].shape} instead of {array.shape}")
        for name, array in own.items():
            array[...] = state[name]

    def load_weights(self, path):
        """Read parameters and running statistics from a safetensors file."""
        from safetensors.numpy import load_file

        self.load_state(load_file(path))

    def save_weights(self, path):
        """Write parameters and running statistics to a safetensors file."""
        from safetensors.numpy import save_file

        save_file(self.state(), path)

    def astype(self, dtype):
        """Convert every array, in place, and return the model."""
        for _, layer in walk(self, "", set()):
            for arrays in (layer.parameters, layer.statistics, layer.gradients):
                arrays.update({name: array.astype(dtype) for name, array in arrays.items()})
        return self


class Apply:
    """A function of x with its options, for a sequence to hold."""

    def __init__(self, function, *args, **kwargs):
        self.function, self.args, self.kwargs = function, args, kwargs

    def forward(self, x, training=False):
        """Call it; it is the same in training."""
        return self.function(x, *self.args, **self.kwargs)


class Sequential(Model):
    """Layers and functions one after another, named 0, 1, ... or by the keys of one dict."""

    def __init__(self, *layers):
        named = len(layers) == 1 and isinstance(layers[0], dict)
        vars(self).update(layers[0] if named else {str(i): x for i, x in enumerate(layers)})

    def child(self, name):
        """The layer of this name or position."""
        return vars(self)[name]

    def last(self):
        """The last layer."""
        return list(vars(self).values())[-1]

    def part(self, start, stop):
        """Some of the layers, under the same names."""
        return Sequential(dict(list(vars(self).items())[start:stop]))

    def forward(self, x, training=False):
        """Chain the layers."""
        steps = []
        for layer in vars(self).values():
            x, step = layer(x) if callable(layer) else layer.forward(x, training)
            steps.append(step)

        def backward(g):
            for step in reversed(steps):
                g = step(g)
            return g

        return x, backward


def per_axis(value, rank):
    """One value for all space axes, or one for each."""
    return (value,) * rank if isinstance(value, int) else tuple(value)


def pad_pairs(pads, rank):
    """(before, after) for each space axis; a single int means both sides."""
    each = (pads,) * rank if isinstance(pads, int) else pads
    return tuple((p, p) if isinstance(p, int) else (p[0], p[1]) for p in each)


def window_slices(size, kernel, stride, dilation):
    """For each kernel position, in row-major order, the elements it meets over all windows."""
    counts = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    ]
    if min(counts) < 1:
        raise ValueError(f"kernel {kernel} with dilation {dilation} does not fit into {size}")
    return [
        (
            ...,
            *(
                slice(q * d, q * d + s * (o - 1) + 1, s)
                for q, d, s, o in zip(at, dilation, stride, counts, strict=True)
            ),
        )
        for at in np.ndindex(*kernel)
    ]


def window_view(x, kernel, stride, dilation):
    """A view (N, C, *kernel, *windows) of every element of every window."""
    rank = len(kernel)
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, extent, tuple(range(2, 2 + rank)))
    view = view[tuple(slice(None, None, step) for step in (1, 1, *stride, *dilation))]
    return view.transpose(0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))


def pad_constant(x, pads, value=0.0):
    """Surround the space axes with a constant."""
    if not any(map(any, pads)):
        return x, lambda g: g
    bounds = zip(((0, 0), (0, 0), *pads), x.shape, strict=True)
    inside = tuple(slice(lo, lo + n) for (lo, _), n in bounds)
    size = [lo + n + hi for (lo, hi), n in zip(pads, x.shape[2:], strict=True)]
    y = np.full((*x.shape[:2], *size), value, x.dtype)
    y[inside] = x
    return y, lambda g: g[inside]


def pad_indexed(x, pads, mode):
    """Surround the space axes with copies of elements: reflect, replicate or circular."""
    size, indices = x.shape, []
    for axis, (lo, hi) in enumerate(pads, start=2):
        n = size[axis]
        if max(lo, hi) > {"reflect": n - 1, "circular": n}.get(mode, lo + hi):
            raise ValueError(f"{mode} padding of ({lo}, {hi}) is too wide for {n} elements")
        i = np.arange(-lo, n + hi)
        reflected = (n - 1) - np.abs((n - 1) - np.abs(i))
        indices.append(
            {"reflect": reflected, "replicate": i.clip(0, n - 1), "circular": i % n}[mode]
        )
        x = np.take(x, indices[-1], axis)

    def backward(g):
        for axis, (lo, hi) in reversed(list(enumerate(pads, start=2))):
            n, index = size[axis], indices[axis - 2]
            g = np.moveaxis(g, axis, 0)
            inner = g[lo : lo + n].copy()
            for i in (*range(lo), *range(lo + n, lo + n + hi)):
                inner[index[i]] += g[i]
            g = np.moveaxis(inner, 0, axis)
        return g

    return x, backward


def tiles(images, rows, row_size):
    """Cut images x rows of output into pieces that read about half a million elements each."""
    row_step = max(1, (1 << 19) // row_size)
    image_step = max(1, row_step // rows)
    for n in range(0, images, image_step):
        for r in range(0, rows, row_step):
            yield slice(n, min(n + image_step, images)), slice(r, min(r + row_step, rows))


class Conv(Layer):
    """y[o, p] = bias[o] + sum over c, q of weight[o, c, q] x[c, p stride + q dilation - before].

    The input is (N, C, *space), the weight (filters, C / groups, *kernel). With `flip` the kernel
    is reversed each time it is used (true convolution); the stored weight never is.
    """

    def __init__(
        self,
        in_channels,
        filters,
        kernel,
        *,
        stride=1,
        dilation=1,
        pads=0,
        groups=1,
        bias=True,
        mode="zeros",
        flip=False,
    ):
        super().__init__()
        rank = len(kernel)
        self.kernel, self.groups, self.mode, self.flip = tuple(kernel), groups, mode, flip
        self.stride, self.dilation = per_axis(stride, rank), per_axis(dilation, rank)
        self.pads = pad_pairs(pads, rank)
        shape = (filters, in_channels // groups, *kernel)
        self.parameters["weight"] = np.zeros(shape, np.float32)
        if bias:
            self.parameters["bias"] = np.zeros(filters, np.float32)

    def forward(self, x, training=False):
        """Multiply the weight with the windows, laid out as columns; some rows at a time."""
        rank, groups = len(self.kernel), self.groups
        if x.ndim != rank + 2:
            raise ValueError(f"an input of {rank + 2} axes expected, not {x.ndim}")
        if self.mode == "zeros":
            padded, unpad = pad_constant(x, self.pads)
        else:
            padded, unpad = pad_indexed(x, self.pads, self.mode)
        geometry = self.kernel, self.stride, self.dilation
        size = window_view(padded, *geometry).shape[2 + rank :]
        images, filters, per_row = len(x), len(self.parameters["weight"]), math.prod(size[1:])

        kernel_axes = tuple(range(2, 2 + rank))
        weight = self.parameters["weight"]
        if self.flip:
            weight = np.flip(weight, kernel_axes)
        matrix = weight.reshape(groups, filters // groups, -1)
        depth = matrix.shape[2]
        pointwise = max(self.kernel + self.stride) == 1

        def read(array, n, rows):
            """The part of the padded input under these rows of output."""
            first, stride = rows.start * self.stride[0], self.stride[0]
            end = (rows.stop - 1) * stride + (self.kernel[0] - 1) * self.dilation[0] + 1
            return array[n, :, first:end]

        def pieces():
            """Images, rows of output, the same as pixels, and their windows as columns.

            Small images share their columns, so that the weight is read once for all of them.
            """
            buffer = np.empty(0, x.dtype)
            for n, rows in tiles(images, size[0], groups * depth * per_row):
                view = np.moveaxis(window_view(read(padded, n, rows), *geometry), 0, 1 + rank)
                if not pointwise:
                    if buffer.size < view.size:
                        buffer = np.empty(view.size, x.dtype)
                    columns = buffer[: view.size].reshape(view.shape)
                    columns[...] = view
                    view = columns
                pixels = slice(rows.start * per_row, rows.stop * per_row)
                yield n, rows, pixels, view.reshape(groups, depth, -1)

        y = np.empty((images, groups, filters // groups, size[0] * per_row), x.dtype)
        for n, _, pixels, columns in pieces():
            if n.stop - n.start == 1:
                np.matmul(matrix, columns, out=y[n.start, ..., pixels])
            else:
                part = np.moveaxis(y[n, ..., pixels], 0, 2)
                part[...] = (matrix @ columns).reshape(part.shape)
        if "bias" in self.parameters:
            y += self.parameters["bias"].reshape(groups, -1, 1)

        def backward(g):
            g = g.reshape(images, groups, filters // groups, -1)
            g_matrix, g_padded = np.zeros(matrix.shape, x.dtype), np.zeros_like(padded)
            multiply = np.multiply if filters == groups else np.matmul
            for n, rows, pixels, columns in pieces():
                part = np.moveaxis(g[n, ..., pixels], 0, 2).reshape(*matrix.shape[:2], -1)
                if n.start == rows.start == 0:
                    np.matmul(part, columns.swapaxes(1, 2), out=g_matrix)
                else:
                    g_matrix += part @ columns.swapaxes(1, 2)
                out = None if pointwise else columns
                g_columns = multiply(matrix.swapaxes(1, 2), part, out=out)
                height = rows.stop - rows.start
                g_view = g_columns.reshape(x.shape[1], *self.kernel, -1, height, *size[1:])
                target = np.moveaxis(read(g_padded, n, rows), 0, 1)
                at = np.ndindex(*self.kernel)
                for q, index in zip(at, window_slices(target.shape[2:], *geometry), strict=True):
                    target[index] += g_view[(slice(None), *q)]
            g_weight = g_matrix.reshape(weight.shape)
            self.accumulate("weight", np.flip(g_weight, kernel_axes) if self.flip else g_weight)
            if "bias" in self.parameters:
                self.accumulate("bias", g.sum((0, 3)).reshape(-1))
            return unpad(g_padded)

        return y.reshape(images, filters, *size), backward


class Dense(Layer):
    """y = x weight^T + bias; the weight is (units, in_features)."""

    def __init__(self, in_features, units, bias=True):
        super().__init__()
        self.parameters["weight"] = np.zeros((units, in_features), np.float32)
        if bias:
            self.parameters["bias"] = np.zeros(units, np.float32)

    def forward(self, x, training=False):
        """(N, in_features) to (N, units)."""
        weight = self.parameters["weight"]
        y = x @ weight.T
        if "bias" in self.parameters:
            y += self.parameters["bias"]

        def backward(g):
            self.accumulate("weight", g.T @ x)
            if "bias" in self.parameters:
                self.accumulate("bias", g.sum(0))
            return g @ weight

        return y, backward


class BatchNorm(Layer):
    """y = weight (x - mean) / sqrt(variance + eps) + bias, per channel.

    Training takes both from the batch (the biased variance) and moves the running statistics by
    `momentum`, the weight of the new value; inference takes the running statistics.
    """

    def __init__(self, channels, eps=1e-5, momentum=0.1, affine=True, running_var="unbiased"):
        super().__init__()
        self.eps, self.momentum, self.unbiased = eps, momentum, running_var == "unbiased"
        self.statistics["running_mean"] = np.zeros(channels, np.float32)
        self.statistics["running_var"] = np.ones(channels, np.float32)
        if affine:
            self.parameters["weight"] = np.ones(channels, np.float32)
            self.parameters["bias"] = np.zeros(channels, np.float32)

    def forward(self, x, training=False):
        """(N, C) or (N, C, *space) to the same shape."""
        axes = (0, *range(2, x.ndim))
        shape = (1, -1, *(1 for _ in x.shape[2:]))
        if training:
            elements = x.size // x.shape[1]
            if elements == 1:
                raise ValueError(f"batch norm needs several values per channel, not {x.shape}")
            centred = x - x.mean(axes, keepdims=True)
            variance = np.square(centred).mean(axes, keepdims=True)
            factor = elements / (elements - 1) if self.unbiased else 1.0
            for name, value in (
                ("running_mean", x.mean(axes)),
                ("running_var", variance.reshape(-1) * factor),
            ):
                running = self.statistics[name]
                running[...] = (1 - self.momentum) * running + self.momentum * value
        else:
            centred = x - self.statistics["running_mean"].reshape(shape)
            variance = self.statistics["running_var"].reshape(shape)
        inverse = 1 / np.sqrt(variance + self.eps)
        normalised = centred * inverse
        affine = "weight" in self.parameters
        weight = self.parameters["weight"].reshape(shape) if affine else 1
        y = normalised * weight + self.parameters["bias"].reshape(shape) if affine else normalised

        def backward(g):
            if affine:
                self.accumulate("weight", (g * normalised).sum(axes))
                self.accumulate("bias", g.sum(axes))
            if training:
                along = (g * normalised).mean(axes, keepdims=True)
                g = g - g.mean(axes, keepdims=True) - normalised * along
            gx = g * (weight * inverse)
            return gx

        return y, backward


def rescale(x, scale=1.0, offset=0.0):
    """Compute scale x + offset."""
    return scale * x + offset, lambda g: scale * g


def leaky_relu(x, slope=0.01):
    """Compute x where positive, slope x elsewhere."""
    return np.where(x > 0, x, slope * x), lambda g: np.where(x > 0, g, slope * g)


def elu(x, alpha=1.0):
    """Compute x where positive, alpha (exp(x) - 1) elsewhere."""
    negative = np.minimum(x, 0)
    y = np.where(x > 0, x, alpha * np.expm1(negative))
    return y, lambda g: np.where(x > 0, g, alpha * np.exp(negative) * g)


def softmax(x):
    """exp(x) over its sum along the channel axis."""
    e = np.exp(x - x.max(1, keepdims=True))
    y = e / e.sum(1, keepdims=True)
    return y, lambda g: y * (g - (g * y).sum(1, keepdims=True))


def flatten(x):
    """(N, C, *space) to (N, features)."""
    return x.reshape(len(x), -1), lambda g: g.reshape(x.shape)


def drop(x, keep, p):
    """Compute x / (1 - p) where kept, 0 elsewhere; `keep` broadcasts against x."""
    scale = 1 / (1 - p)
    return np.where(keep, x * scale, 0), lambda g: np.where(keep, g * scale, 0)


def philox(counter, key):
    """Philox4x32-10 (Salmon et al., 2011): four 32-bit words for each counter of four words."""
    a, b, c, d = counter
    k, l = key
    for _ in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (q >> 32) ^ b ^ k, q & 0xFFFFFFFF, (p >> 32) ^ d ^ l, p & 0xFFFFFFFF
        k, l = (k + 0x9E3779B9) & 0xFFFFFFFF, (l + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


class CounterRandom(Layer):
    """A layer whose decisions depend on seed, name, step and position in the batch only."""

    def __init__(self, seed=0):
        super().__init__()
        self.seed, self.layer_id, self.step, self.first = seed, 0, 0, 0

    def keep(self, shape, p):
        """Keep with probability 1 - p; `first` samples of the batch come before these."""
        sample = math.prod(shape[1:])
        start, stop = self.first * sample, (self.first + shape[0]) * sample
        block = np.arange(start // 4, (stop + 3) // 4, dtype=np.uint64)
        counter = block & 0xFFFFFFFF, block >> 32, self.step, self.layer_id
        words = np.stack(philox(counter, (self.seed & 0xFFFFFFFF, self.seed >> 32)), axis=1)
        kept = words.reshape(-1) >= math.floor(p * 2**32)
        return kept[start % 4 :][: stop - start].reshape(shape)


class CounterDropout(CounterRandom):
    """Drop elements with probability p in training and scale the others by 1 / (1 - p)."""

    def __init__(self, p, seed=0):
        super().__init__(seed)
        self.p = p

    def forward(self, x, training=False):
        """Any shape."""
        if not training or self.p == 0:
            return x, lambda g: g
        if self.p == 1:
            return np.zeros_like(x), np.zeros_like
        return drop(x, self.keep(x.shape, self.p), self.p)


class CounterModel(Model):
    """A model with counter-based random layers: they are told their name, step and position."""

    def name_random_layers(self):
        """Give each random layer the number that belongs to its path."""
        for path, layer in walk(self, "", set()):
            if isinstance(layer, CounterRandom):
                digest = hashlib.blake2b(path.encode(), digest_size=4).digest()
                layer.layer_id = int.from_bytes(digest, "little")

    def at(self, step, first=0):
        """Set the number of completed updates and the batch position of the next sample."""
        for _, layer in walk(self, "", set()):
            if isinstance(layer, CounterRandom):
                layer.step, layer.first = step, first


def fans(shape):
    """Inputs per unit of output, and outputs per unit of input."""
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def normal(array, rng, std=1.0, mean=0.0):
    """Normal with this standard deviation and mean."""
    array[...] = rng.normal(mean, std, array.shape)


def he_normal(array, rng, slope=0.0, fan="in"):
    """Normal with variance 2 / (1 + slope^2) / fan, for a (leaky) relu."""
    fan_in, fan_out = fans(array.shape)
    normal(array, rng, math.sqrt(2 / (1 + slope**2) / (fan_in if fan == "in" else fan_out)))


def cross_entropy(z, labels):
    """-log softmax(z)[label] at each position; z is (N, C, *space), labels (N, *space)."""
    index = labels[:, None]
    shifted = z - z.max(1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(1, keepdims=True)
    losses = np.log(total) - np.take_along_axis(shifted, index, 1)
    gradient = e / total
    hit = np.take_along_axis(gradient, index, 1)
    np.put_along_axis(gradient, index, hit - 1, 1)
    return (losses.sum(), labels.size), gradient


class Optimizer:
    """Weight decay and parameters' own options; how far an update goes is for subclasses."""

    def __init__(self, model, weight_decay=0.0, decoupled=False, options=None):
        self.model, self.weight_decay, self.decoupled = model, weight_decay, decoupled
        self.options = options

    def step(self, gradients, learning_rate):
        """Update every parameter that has a gradient."""
        parameters = self.model.parameters()
        for name, gradient in gradients.items():
            p, own = parameters[name], self.options(name) if self.options else {}
            rate = float(learning_rate) * own.get("lr_scale", 1.0)
            decay = own.get("weight_decay", self.weight_decay)
            if self.decoupled:
                p *= 1 - rate * decay
            coupled = bool(decay) and not self.decoupled
            p -= self.change(name, gradient + decay * p if coupled else gradient, rate)

    def change(self, name, gradient, rate):
        """What is taken from a parameter."""
        raise NotImplementedError


class SGD(Optimizer):
    """Gradient descent; b = momentum b + (1 - dampening) g (b = g at first), p -= rate b."""

    def __init__(self, model, momentum=0.0, dampening=0.0, nesterov=False, **options):
        super().__init__(model, **options)
        self.momentum, self.dampening, self.nesterov = momentum, dampening, nesterov
        self.buffers = {}

    def change(self, name, gradient, rate):
        """Along the gradient, or its buffer."""
        if not self.momentum:
            return rate * gradient
        b = self.buffers.get(name)
        b = gradient if b is None else self.momentum * b + (1 - self.dampening) * gradient
        self.buffers[name] = b
        return rate * (gradient + self.momentum * b if self.nesterov else b)


SEED = 3


class NamedSequence(CounterModel):
    """3x10x9 -> 4 for each sample."""

    def __init__(self, seed=None):
        rng = np.random.default_rng(seed)
        self.features = Sequential(
            {
                "first": Conv(3, 6, (3, 3), stride=2, pads=((0, 1), (1, 1))),
                "1": Apply(elu, 0.5),
                "inner": Sequential(
                    Conv(6, 8, (2, 2), bias=False),
                    BatchNorm(8, eps=0.001, momentum=0.01, running_var="biased"),
                    Apply(leaky_relu, 0.2),
                ),
                "3": flatten,
            },
        )
        self.classifier = Sequential(
            {
                "0": Dense(128, 7),
                "head": Sequential(
                    {
                        "0": CounterDropout(0.3, SEED),
                        "scores": Dense(7, 4),
                        "probabilities": softmax,
                    },
                ),
            },
        )

        for _, layer in self.layers():
            if isinstance(layer, (Conv, Dense)):
                he_normal(layer.parameters["weight"], rng)
        self.name_random_layers()

    def forward(self, x, training=False):
        """Outputs, and their backward."""
        if x.shape[1:] != (3, 10, 9):
            raise ValueError(f"made for inputs of 3x10x9, got {x.shape[1:]}")
        x, features_backward = self.features.forward(x, training)
        x, rescale1_backward = rescale(x, scale=0.5, offset=-0.25)
        x, classifier_backward = self.classifier.forward(x, training)

        def backward(g):
            g = classifier_backward(g)
            g = rescale1_backward(g)
            g = features_backward(g)
            return g

        return x, backward

    def logits(self, x, training=False):
        """What the loss reads, and its backward."""
        if x.shape[1:] != (3, 10, 9):
            raise ValueError(f"made for inputs of 3x10x9, got {x.shape[1:]}")
        x, features_backward = self.features.forward(x, training)
        x, rescale1_backward = rescale(x, scale=0.5, offset=-0.25)
        x, classifier_head_backward = self.classifier.part(0, -1).forward(x, training)
        x, classifier_head_head_backward = self.classifier.last().part(0, -1).forward(x, training)

        def backward(g):
            g = classifier_head_head_backward(g)
            g = classifier_head_backward(g)
            g = rescale1_backward(g)
            g = features_backward(g)
            return g

        return x, backward


def loss_sum(outputs, targets):
    """Sum of the loss over a batch and its weight, for each output."""
    return {"output": cross_entropy(outputs, targets)[0]}


def loss_gradient(outputs, targets):
    """Gradient of each sum with respect to its output."""
    return {"output": cross_entropy(outputs, targets)[1]}


def make_optimizer(model):
    """The optimizer; `train_step` gives it the learning rate."""
    return SGD(model, momentum=0.9, nesterov=True)


def learning_rate(update, updates_per_epoch):
    """Learning rate of an update, which is counted from 0."""
    return 0.05


def clip(gradients):
    """Gradients as the optimizer gets them: unchanged."""
    return gradients


def train_step(model, optimizer, inputs, targets, update, updates_per_epoch):
    """One update; returns the loss before it."""
    model.at(update)
    outputs, backward = model.logits(inputs, training=True)
    losses = loss_sum(outputs, targets)
    gradients = loss_gradient(outputs, targets)
    model.zero_gradients()
    backward(gradients["output"] / losses["output"][1])
    loss = sum(s / w for s, w in losses.values())
    optimizer.step(clip(model.gradients()), learning_rate(update, updates_per_epoch))
    return loss
