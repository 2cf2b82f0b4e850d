"""lenet_modern: 1x28x28 -> 10 for each sample."""

import contextvars
import math

import numpy as np


class Layer:
    """Parameters, running statistics and summed gradients, by name."""

    keeps = contextvars.ContextVar("keeps", default=True)  # in each thread

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


def keeping(backward):
    """The backward pass; inside of `predict` it is dropped, with every array that it refers to."""
    return backward if Layer.keeps.get() else dropped


def dropped(g):
    """Stand where a backward pass would."""
    raise RuntimeError("`predict` keeps nothing that a backward pass needs")


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

    def predict(self, *inputs):
        """What `forward` computes in inference, without its backward and all that it would keep."""
        before = Layer.keeps.set(False)
        try:
            return self.forward(*inputs)[0]
        finally:
            Layer.keeps.reset(before)

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


def window_counts(size, kernel, stride, dilation, pads):
    """How many windows there are along each axis."""
    axes = zip(size, kernel, stride, dilation, pads, strict=True)
    counts = tuple((n + sum(p) - (k - 1) * d - 1) // s + 1 for n, k, s, d, p in axes)
    if min(counts) < 1:
        raise ValueError(
            f"a window of {kernel} with dilation {dilation} does not fit into {size} with {pads}"
        )
    return counts


def window_reads(n, windows, kernel, stride, dilation, before):
    """For each element of a kernel along one axis: in which windows it meets one of n elements.

    Beside these windows stand the elements; in all others it meets padding.
    """
    found = []
    for q in range(kernel):
        offset = q * dilation - before
        first = max(0, -(offset // stride))
        end = max(first, min(windows, (n - 1 - offset) // stride + 1))
        elements = slice(first * stride + offset, end * stride + offset, stride)
        found.append((slice(first, end), elements))
    return found


def unfold(x, windows, *geometry):
    """What each window of (C, N, *space) holds, as (C, *kernel, N, *windows); 0 outside of it.

    It is done axis by axis, the last one first, so that what is copied most often is copied in
    long runs. The geometry is kernel, stride, dilation and padding before, for each axis.
    """
    rank = len(windows)
    lead = (slice(None),) * (rank + 1)
    for count, kernel, *how in reversed(list(zip(windows, *geometry, strict=True))):
        shape = x.shape[0], kernel, *x.shape[1 : rank + 1], count, *x.shape[rank + 2 :]
        y = np.empty(shape, x.dtype)
        for q, (some, elements) in enumerate(window_reads(x.shape[rank + 1], count, kernel, *how)):
            part = y[:, q]
            part[(*lead, some)] = x[(*lead, elements)]
            if some.start > 0:
                part[(*lead, slice(some.start))] = 0
            if some.stop < count:
                part[(*lead, slice(some.stop, None))] = 0
        x = y
    return x


def fold(g, x, windows, *geometry):
    """Add each element of `unfold`'s result to the element of `x` that it came from."""
    rank = len(windows)
    lead = (slice(None),) * (rank + 1)
    for axis, (count, kernel, *how) in enumerate(zip(windows, *geometry, strict=True)):
        n = x.shape[2 + axis]
        shape = g.shape[0], *g.shape[2 : rank + 2], n, *g.shape[rank + 3 :]
        target = x if axis == rank - 1 else np.zeros(shape, g.dtype)
        for q, (some, elements) in enumerate(window_reads(n, count, kernel, *how)):
            target[(*lead, elements)] += g[:, q][(*lead, some)]
        g = target


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


def tiles(images, groups, rows, row_size, most):
    """Cut images x groups x rows of output into pieces that read at most so many elements.

    A piece is a part of the rows, all rows of some groups, or some images; at least one row.
    """
    row_step = max(1, min(rows, most // row_size))
    row_step = -(-rows // -(-rows // row_step))  # as many pieces, of more equal size
    group_step = max(1, min(groups, most // (row_size * row_step)))
    image_step = max(1, most // (row_size * row_step * group_step))
    for n in range(0, images, image_step):
        for g in range(0, groups, group_step):
            for r in range(0, rows, row_step):
                yield (
                    slice(n, min(n + image_step, images)),
                    slice(g, min(g + group_step, groups)),
                    slice(r, min(r + row_step, rows)),
                )


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
        """Multiply the weight with the pixels, or with the windows laid out as columns."""
        rank = len(self.kernel)
        if x.ndim != rank + 2:
            raise ValueError(f"an input of {rank + 2} axes expected, not {x.ndim}")
        pads, unpad = self.pads, None
        if self.mode != "zeros":
            x, unpad = pad_indexed(x, pads, self.mode)
            pads = pad_pairs(0, rank)
        size = window_counts(x.shape[2:], self.kernel, self.stride, self.dilation, pads)
        kernel_axes = tuple(range(2, 2 + rank))
        weight = self.parameters["weight"]
        if self.flip:
            weight = np.flip(weight, kernel_axes)
        filters = len(weight)
        matrix = weight.reshape(self.groups, filters // self.groups, -1)
        bias = self.parameters.get("bias")

        one_to_one = max(self.kernel) == 1 and not any(map(any, pads))
        if one_to_one and (len(x) == 1 or math.prod(size) >= 64):
            y, product_backward = by_pixel(x, matrix, self.stride)
            if bias is not None:
                y += bias.reshape(self.groups, -1, 1)
        else:
            before = tuple(lo for lo, _ in pads)
            geometry = self.kernel, self.stride, self.dilation, before
            y, product_backward = by_column(x, matrix, bias, size, *geometry)

        def backward(g):
            gx, g_matrix = product_backward(g.reshape(y.shape))
            g_weight = g_matrix.reshape(weight.shape)
            self.accumulate("weight", np.flip(g_weight, kernel_axes) if self.flip else g_weight)
            if bias is not None:
                self.accumulate("bias", g.sum((0, *kernel_axes)))
            return unpad(gx) if unpad else gx

        return y.reshape(len(x), filters, *size), keeping(backward)


def by_pixel(x, matrix, stride):
    """Multiply each group's matrix with its channels; copies only where a stride leaves some out.

    x is (N, C, *space), the matrix (groups, filters / groups, C / groups), what comes out
    (N, groups, filters / groups, pixels); backward gives the gradients of x and of the matrix.
    """
    used = (..., *(slice(None, None, step) for step in stride))
    pixels = x[used].reshape(len(x), len(matrix), matrix.shape[2], -1)

    def backward(g):
        g_matrix = np.zeros_like(matrix)
        for g_image, image in zip(g, pixels, strict=True):
            g_matrix += g_image @ image.swapaxes(1, 2)
        gx = matrix.swapaxes(1, 2) @ g
        if pixels.size == x.size:
            return gx.reshape(x.shape), g_matrix
        g_whole = np.zeros_like(x)
        g_whole[used] = gx.reshape(g_whole[used].shape)
        return g_whole, g_matrix

    return matrix @ pixels, backward


def by_column(x, matrix, bias, size, *geometry):
    """Multiply each group's matrix with its windows, laid out as columns, piece by piece.

    Arguments and results are those of `by_pixel`, and the sizes and the geometry that `unfold`
    takes. With stride 1 the input's gradient is the convolution of g with the kernel turned round,
    and its columns serve for the weight's too; else the gradient of the columns is folded.
    """
    groups, filters, _ = matrix.shape
    kernel, stride, dilation, before = geometry
    images, channels, space = len(x), x.shape[1] // groups, x.shape[2:]
    y = np.empty((images, groups, filters, math.prod(size)), x.dtype)
    most = columns_at_once(x.size + y.size + matrix.size, matrix.size)
    for at, _, _, columns in column_pieces(x, groups, size, geometry, most):
        multiply_into(y, at, matrix, columns)
        if bias is not None:
            y[at] += bias.reshape(groups, filters, 1)[at[1]]
        del columns  # their memory is that of the next ones

    def turn(matrix, shape):
        turned = np.flip(matrix.reshape(*shape, *kernel), tuple(range(3, 3 + len(kernel))))
        return turned.swapaxes(1, 2).reshape(groups, shape[2], -1)

    def backward(g):
        if max(stride) == 1 and channels >= filters:
            turned = turn(matrix, (groups, filters, channels))
            g_turned, flat = np.zeros_like(turned), x.reshape(images, groups, channels, -1)
            gx = np.empty_like(flat)
            sides = zip(kernel, dilation, before, strict=True)
            how = kernel, stride, dilation, tuple((k - 1) * d - lo for k, d, lo in sides)
            g = g.reshape(images, groups * filters, *size)
            for at, _, _, columns in column_pieces(g, groups, space, how, most):
                multiply_into(gx, at, turned, columns)
                g_turned[at[1]] += rows_of(flat, at) @ columns.swapaxes(1, 2)
                del columns
            return gx.reshape(x.shape), turn(g_turned, (groups, channels, filters))
        gx, g_matrix = np.zeros_like(x), np.zeros_like(matrix)
        multiply = np.multiply if filters == 1 else np.matmul
        for at, read, piece, columns in column_pieces(x, groups, size, geometry, most):
            part = rows_of(g, at)
            g_matrix[at[1]] += part @ columns.swapaxes(1, 2)
            multiply(matrix[at[1]].swapaxes(1, 2), part, out=columns)
            target = gx[read].swapaxes(0, 1)
            shape = len(target), *kernel, target.shape[1], *piece[0]
            fold(columns.reshape(shape), target, *piece)
            del columns
        return gx, g_matrix

    return y, backward


def columns_at_once(whole, weight):
    """Elements of columns to make at a time.

    They should stay in the cache of a processor core, but be as many as those of the weight, which
    is read anew for each piece. With what making them takes they are fewer than those of input,
    output and weight together, of which there are `whole`, or fewer than 200,000.
    """
    return max(1 << 17, min(max(1 << 19, weight), whole * 3 // 5))


def column_pieces(x, groups, size, geometry, most):
    """The windows of x in pieces of at most so many elements, as (groups, elements, windows).

    With each: its index in (N, groups, channels, windows), its index in x, and what `unfold` was
    told.
    """
    (kernel, *_), (stride, *_), (dilation, *_), before = geometry
    per_row, channels = math.prod(size[1:]), x.shape[1] // groups
    row_size = channels * math.prod(geometry[0]) * per_row
    for n, some, rows in tiles(len(x), groups, size[0], row_size, most):
        first = rows.start * stride - before[0]
        end = (rows.stop - 1) * stride + (kernel - 1) * dilation + 1 - before[0]
        inside = slice(max(0, first), max(0, end))
        read = n, slice(some.start * channels, some.stop * channels), inside
        windows = rows.stop - rows.start, *size[1:]
        how = windows, *geometry[:3], (inside.start - first, *before[1:])
        at = n, some, slice(None), slice(rows.start * per_row, rows.stop * per_row)
        shape = some.stop - some.start, channels * math.prod(geometry[0]), -1
        yield at, read, how, unfold(x[read].swapaxes(0, 1), *how).reshape(shape)


def multiply_into(y, at, matrix, columns):
    """Put the product of a piece's columns, and its groups of the matrix, where it belongs."""
    part = y[at]
    if len(part) == 1:
        np.matmul(matrix[at[1]], columns, out=part[0])
    else:
        part = np.moveaxis(part, 0, 2)
        part[...] = (matrix[at[1]] @ columns).reshape(part.shape)


def rows_of(y, at):
    """A piece of (N, groups, channels, windows) as (groups, channels, all windows)."""
    part = np.moveaxis(y[at], 0, 2)
    flat = part.reshape(*part.shape[:2], -1)
    return flat


def max_pool(x, kernel, stride=None, dilation=1, pads=0):
    """Largest element of each window, padding aside; its first occurrence gets the gradient.

    Axes are taken one by one, the last one first, which keeps the order of occurrence.
    """
    rank = x.ndim - 2
    kernel, dilation = per_axis(kernel, rank), per_axis(dilation, rank)
    stride = kernel if stride is None else per_axis(stride, rank)
    pairs = pad_pairs(pads, rank)
    counts = window_counts(x.shape[2:], kernel, stride, dilation, pairs)
    steps = []
    for axis in reversed(range(rank)):
        geometry = counts[axis], kernel[axis], stride[axis], dilation[axis], pairs[axis][0]
        x, step = max_along(x, 2 + axis, *geometry)
        steps.append(step)

    def backward(g):
        for step in reversed(steps):
            g = step(g)
        return g

    return x, keeping(backward)


def max_along(x, axis, windows, *geometry):
    """Largest element of each window along one axis; its first occurrence gets the gradient.

    The geometry is kernel, stride, dilation and padding before.
    """
    lead = (slice(None),) * axis
    found = window_reads(x.shape[axis], windows, *geometry)
    places = [((*lead, some), (*lead, elements)) for some, elements in found]
    y = np.full((*x.shape[:axis], windows, *x.shape[axis + 1 :]), -math.inf, x.dtype)
    for at, read in places:
        np.maximum(y[at], x[read], out=y[at])

    def backward(g):
        gx, step = np.zeros_like(x), max(1, (1 << 17) * len(x) // x.size)
        for n in range(0, len(x), step):  # a few images at a time stay in the cache
            some = slice(n, n + step)
            x_part, y_part, g_part, gx_part = x[some], y[some], g[some], gx[some]
            pending = np.ones(y_part.shape, bool)
            for at, read in places:
                hit = pending[at] & (x_part[read] == y_part[at])
                gx_part[read] += g_part[at] * hit
                pending[at] ^= hit
        return gx

    return y, keeping(backward)


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
        shape = (1, -1, *(1 for _ in x.shape[2:]))
        elements = x.size // x.shape[1]
        if training:
            if elements == 1:
                raise ValueError(f"batch norm needs several values per channel, not {x.shape}")
            mean = x.mean((0, *range(2, x.ndim)))
            centred = x - mean.reshape(shape)
            variance = channel_dots(centred, centred) / elements
            factor = elements / (elements - 1) if self.unbiased else 1.0
            for name, value in (("running_mean", mean), ("running_var", variance * factor)):
                running = self.statistics[name]
                running[...] = (1 - self.momentum) * running + self.momentum * value
        else:
            mean, variance = self.statistics["running_mean"], self.statistics["running_var"]
            centred = None
        inverse = 1 / np.sqrt(variance + self.eps)
        affine = "weight" in self.parameters
        scale = self.parameters["weight"] * inverse if affine else inverse
        offset = self.parameters["bias"] if affine else np.zeros_like(mean)
        if training:
            y = centred * scale.reshape(shape)
        else:
            y, offset = x * scale.reshape(shape), offset - mean * scale
        y += offset.reshape(shape)

        def backward(g):
            from_mean = centred if training else x - mean.reshape(shape)
            g_bias = g.sum((0, *range(2, x.ndim)))
            along = channel_dots(g, from_mean) * inverse
            if affine:
                self.accumulate("weight", along)
                self.accumulate("bias", g_bias)
            if not training:
                gx = g * scale.reshape(shape)
                return gx
            gx = centred * (-along * inverse / elements).reshape(shape)
            gx += g
            gx -= (g_bias / elements).reshape(shape)
            gx *= scale.reshape(shape)
            return gx

        return y, keeping(backward)


def channel_dots(a, b):
    """Sum of a b over all samples and positions, for each channel."""
    flat = (*a.shape[:2], -1)
    dots = np.vecdot(a.reshape(flat), b.reshape(flat)).sum(0)
    return dots


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


class Dropout(Layer):
    """Drop elements with probability p in training and scale the others by 1 / (1 - p)."""

    def __init__(self, p, rng=None):
        super().__init__()
        self.p, self.rng = p, rng or np.random.default_rng()

    def forward(self, x, training=False):
        """Any shape."""
        if not training or self.p == 0:
            return x, lambda g: g
        if self.p == 1:
            return np.zeros_like(x), np.zeros_like
        return drop(x, self.rng.random(x.shape) >= self.p, self.p)


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
        change = gradient - m  # and further below in its place: these arrays are long
        change *= 1 - beta1
        m += change
        np.multiply(gradient, gradient, out=change)
        change *= 1 - beta2
        v *= beta2
        v += change
        if self.amsgrad:
            v = self.largest[name] = np.maximum(self.largest.get(name, v), v)
        np.sqrt(v, out=change)
        change /= math.sqrt(1 - beta2**t)
        change += self.eps
        np.divide(m, change, out=change)
        change *= rate / (1 - beta1**t)
        return change


class LenetModern(Model):
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
        self.dropout1 = Dropout(0.5, rng)
        self.fc2 = Dense(500, 10)

        for _, layer in self.layers():
            if isinstance(layer, (Conv, Dense)):
                he_uniform(layer.parameters["weight"], rng)

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
    outputs, backward = model.logits(inputs, training=True)
    losses = loss_sum(outputs, targets)
    gradients = loss_gradient(outputs, targets)
    model.zero_gradients()
    backward(gradients["output"] / losses["output"][1])
    loss = sum(s / w for s, w in losses.values())
    optimizer.step(clip(model.gradients()), learning_rate(update, updates_per_epoch))
    return loss
