"""lenet_modern: 1x28x28 -> 10 for each sample."""

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


def max_pool(x, kernel, stride=None, dilation=1, pads=0):
    """Largest element of each window, padding aside; its first occurrence gets the gradient."""
    rank = x.ndim - 2
    kernel, dilation = per_axis(kernel, rank), per_axis(dilation, rank)
    stride = kernel if stride is None else per_axis(stride, rank)
    padded, unpad = pad_constant(x, pad_pairs(pads, rank), -math.inf)
    slices = window_slices(padded.shape[2:], kernel, stride, dilation)
    y = padded[slices[0]].copy()
    for index in slices[1:]:
        np.maximum(y, padded[index], out=y)

    def backward(g):
        g_padded, pending = np.zeros_like(padded), np.ones(y.shape, bool)
        for index in slices:
            hit = pending & (padded[index] == y)
            g_padded[index] += np.where(hit, g, 0)
            pending &= ~hit
        return unpad(g_padded)

    return y, backward


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


class PRelu(Layer):
    """x where positive, weight x elsewhere; one weight per channel, or one in all."""

    def __init__(self, channels):
        super().__init__()
        self.parameters["weight"] = np.full(channels, 0.25, np.float32)

    def forward(self, x, training=False):
        """Any shape (N, C, ...)."""
        weight = self.parameters["weight"]
        slope = weight.reshape(1, -1, *(1 for _ in x.shape[2:]))

        def backward(g):
            axes = (0, *range(2, x.ndim)) if len(weight) > 1 else None
            self.accumulate("weight", np.where(x > 0, 0, g * x).sum(axes).reshape(weight.shape))
            return np.where(x > 0, g, slope * g)

        return np.where(x > 0, x, slope * x), backward


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


def uniform(array, rng, low, high):
    """Uniform between low and high."""
    array[...] = rng.uniform(low, high, array.shape)


def he_uniform(array, rng, slope=0.0, fan="in"):
    """Uniform with variance 2 / (1 + slope^2) / fan, for a (leaky) relu."""
    fan_in, fan_out = fans(array.shape)
    bound = math.sqrt(6 / (1 + slope**2) / (fan_in if fan == "in" else fan_out))
    uniform(array, rng, -bound, bound)


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


class Adam(Optimizer):
    """p -= rate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps), m and v means of g and g^2.

    With `amsgrad` the largest v so far stands for v.
    """

    def __init__(self, model, betas=(0.9, 0.999), eps=1e-8, amsgrad=False, **options):
        super().__init__(model, **options)
        self.betas, self.eps, self.amsgrad = betas, eps, amsgrad
        self.steps = {}
        self.means = {}
        self.squares = {}
        self.largest = {}

    def change(self, name, gradient, rate):
        """Along the mean, over the root of the mean square."""
        beta1, beta2 = self.betas
        t = self.steps[name] = self.steps.get(name, 0) + 1
        m = self.means.setdefault(name, np.zeros_like(gradient))
        v = self.squares.setdefault(name, np.zeros_like(gradient))
        m += (1 - beta1) * (gradient - m)
        v *= beta2
        v += (1 - beta2) * gradient * gradient
        if self.amsgrad:
            v = self.largest[name] = np.maximum(self.largest.get(name, v), v)
        scale = np.sqrt(v) / math.sqrt(1 - beta2**t) + self.eps
        return rate / (1 - beta1**t) * (m / scale)


SEED = 0


class LenetModern(CounterModel):
    """1x28x28 -> 10 for each sample."""

    def __init__(self, seed=None):
        rng = np.random.default_rng(seed)
        self.conv1 = Conv(1, 20, (5, 5), bias=False)
        self.bn1 = BatchNorm(20)
        self.act = PRelu(1)
        self.conv2 = Conv(20, 50, (5, 5), bias=False)
        self.bn2 = BatchNorm(50)
        self.fc1 = Dense(800, 500, bias=False)
        self.bn3 = BatchNorm(500)
        self.dropout1 = CounterDropout(0.5, SEED)
        self.fc2 = Dense(500, 10)

        for _, layer in self.layers():
            if isinstance(layer, (Conv, Dense)):
                he_uniform(layer.parameters["weight"], rng)
        self.name_random_layers()

    def logits(self, x, training=False):
        """What the loss reads, and its backward."""
        x, conv1_backward = self.conv1.forward(x, training)
        x, bn1_backward = self.bn1.forward(x, training)
        x, act_backward = self.act.forward(x, training)
        x, max_pool1_backward = max_pool(x, 2)
        x, conv2_backward = self.conv2.forward(x, training)
        x, bn2_backward = self.bn2.forward(x, training)
        x, act2_backward = self.act.forward(x, training)
        x, max_pool2_backward = max_pool(x, 2)
        x, flatten1_backward = flatten(x)
        x, fc1_backward = self.fc1.forward(x, training)
        x, bn3_backward = self.bn3.forward(x, training)
        x, act3_backward = self.act.forward(x, training)
        x, dropout1_backward = self.dropout1.forward(x, training)
        x, fc2_backward = self.fc2.forward(x, training)

        def backward(g):
            g = fc2_backward(g)
            g = dropout1_backward(g)
            g = act3_backward(g)
            g = bn3_backward(g)
            g = fc1_backward(g)
            g = flatten1_backward(g)
            g = max_pool2_backward(g)
            g = act2_backward(g)
            g = bn2_backward(g)
            g = conv2_backward(g)
            g = max_pool1_backward(g)
            g = act_backward(g)
            g = bn1_backward(g)
            g = conv1_backward(g)
            return g

        return x, backward

    def forward(self, x, training=False):
        """Outputs, and their backward."""
        x, logits_backward = self.logits(x, training)
        x, softmax1_backward = softmax(x)
        return x, lambda g: logits_backward(softmax1_backward(g))


def loss_sum(outputs, targets):
    """Sum of the loss over a batch and its weight, for each output."""
    return {"output": cross_entropy(outputs, targets)[0]}


def loss_gradient(outputs, targets):
    """Gradient of each sum with respect to its output."""
    return {"output": cross_entropy(outputs, targets)[1]}


def make_optimizer(model):
    """The optimizer; `train_step` gives it the learning rate."""
    return Adam(model, betas=(0.9, 0.999), eps=1e-08)


def learning_rate(update, updates_per_epoch):
    """Learning rate of an update, which is counted from 0."""
    return 0.001


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
