"""mini_resnet: 3x24x24 -> 10 for each sample."""

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


def global_avg_pool(x):
    """Mean over all space axes, kept with size 1."""
    space = tuple(range(2, x.ndim))
    elements = math.prod(x.shape[2:])
    return x.mean(space, keepdims=True), lambda g: np.broadcast_to(g / elements, x.shape)


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


def relu(x):
    """max(x, 0)."""
    y = np.maximum(x, 0)
    return y, lambda g: np.where(y > 0, g, 0)


def softmax(x):
    """exp(x) over its sum along the channel axis."""
    e = np.exp(x - x.max(1, keepdims=True))
    y = e / e.sum(1, keepdims=True)
    return y, lambda g: y * (g - (g * y).sum(1, keepdims=True))


def add(*xs):
    """Sum of values of equal shape."""
    y = xs[0]
    for x in xs[1:]:
        y = y + x
    return y, lambda g: (g,) * len(xs)


def flatten(x):
    """(N, C, *space) to (N, features)."""
    return x.reshape(len(x), -1), lambda g: g.reshape(x.shape)


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


class MiniResnet(Model):
    """3x24x24 -> 10 for each sample."""

    def __init__(self, seed=None):
        rng = np.random.default_rng(seed)
        self.conv1 = Conv(3, 16, (3, 3), pads=1)
        self.conv2 = Conv(16, 16, (3, 3), pads=1)
        self.conv3 = Conv(16, 16, (3, 3), pads=1)
        self.main = Sequential(
            Conv(16, 32, (3, 3), stride=2, pads=((1, 0), (1, 0))),
            relu,
            Conv(32, 32, (3, 3), pads=1),
        )
        self.downsample = Sequential(Conv(16, 32, (1, 1), stride=2))
        self.fc = Dense(32, 10)

        for _, layer in self.layers():
            if isinstance(layer, Conv):
                he_normal(layer.parameters["weight"], rng)
        he_normal(self.fc.parameters["weight"], rng)

    def forward(self, x, training=False):
        """Outputs, and their backward."""
        x, conv1_backward = self.conv1.forward(x, training)
        stem, stem_backward = relu(x)
        x, conv2_backward = self.conv2.forward(stem, training)
        x, relu1_backward = relu(x)
        x, conv3_backward = self.conv3.forward(x, training)
        x, add1_backward = add(x, stem)
        x, block1_backward = relu(x)
        main, main_backward = self.main.forward(x, training)
        x, downsample_backward = self.downsample.forward(x, training)
        x, add2_backward = add(main, x)
        x, relu2_backward = relu(x)
        x, global_avg_pool1_backward = global_avg_pool(x)
        x, flatten1_backward = flatten(x)
        x, fc_backward = self.fc.forward(x, training)
        x, softmax1_backward = softmax(x)

        def backward(g):
            g = softmax1_backward(g)
            g = fc_backward(g)
            g = flatten1_backward(g)
            g = global_avg_pool1_backward(g)
            g = relu2_backward(g)
            g_main, g = add2_backward(g)
            g = downsample_backward(g)
            g = g + main_backward(g_main)
            g = block1_backward(g)
            g, g_stem = add1_backward(g)
            g = conv3_backward(g)
            g = relu1_backward(g)
            g_stem = g_stem + conv2_backward(g)
            g = stem_backward(g_stem)
            g = conv1_backward(g)
            return g

        return x, backward
