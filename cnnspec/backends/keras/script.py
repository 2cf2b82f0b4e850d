"""A minimal case as a few lines of plain Keras, on the engine that was checked."""

from __future__ import annotations

import ast
from collections.abc import Generator, Iterator

import numpy as np

from cnnspec.backends.base import Emitted, Slot
from cnnspec.backends.case import Case, Number, code_in, headline, picked, printed, written
from cnnspec.backends.taken_apart import Source, names_in

INDENT = " " * 4
TENSORFLOW = "tensorflow"


def script(case: Case, emitted: Emitted, about: str, engine: str = "") -> str | None:
    """The script; None where the engine has no gradient that is the same in all of Keras.

    Args:
        case: what it shows.
        emitted: its text.
        about: one line on what is wrong.
        engine: that Keras runs on, TensorFlow unless told.
    """
    engine = engine or TENSORFLOW
    gradient = case.quantity in ("input_gradient", "parameter_gradient")
    if gradient and engine != TENSORFLOW:
        return None
    return _Writer(case, emitted, engine).text(about)


class _Bare(ast.NodeTransformer):
    """Keras' own layers without initializers: weights are given."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if ast.unparse(node.func).startswith("layers."):
            node.keywords = [k for k in node.keywords if not (k.arg or "").endswith("_initializer")]
        return node


class _Writer:
    def __init__(self, case: Case, emitted: Emitted, engine: str) -> None:
        self.case = case
        self.engine = engine
        self.emitted = emitted
        self.source = Source(emitted.text)

    def text(self, about: str) -> str:
        """All of it: head, definitions, numbers, the call, and what it should have given."""
        body = list(self._body())
        tree = ast.parse("\n".join(body))
        code = [self.source.code(name) for name in self.source.needed(names_in([tree]))]
        self.source.imports["np"] = "import numpy as np"
        self.source.imports["tf"] = "import tensorflow as tf"
        used = names_in([tree, *(ast.parse(text) for text in code)]) | {"keras", "np"}
        lines = [headline(about), ""]
        if self.engine != TENSORFLOW:
            lines += ["import os", "", f'os.environ["KERAS_BACKEND"] = "{self.engine}"', ""]
        lines += [*self.source.import_lines(used), ""]
        lines += [f'keras.config.set_floatx("{self.case.dtype}")', ""]
        lines += [text + "\n" for text in code]
        return "\n".join([*lines, *body]) + "\n"

    def _body(self) -> Iterator[str]:
        case = self.case
        if case.name == "learning_rate":
            yield f"actual = [learning_rate(u, {case.per_epoch}) for u in range({case.steps})]"
            yield from self._end("actual", None)
            return
        if any(True for _ in case.arrays()):
            yield "rng = np.random.default_rng(0)"
        yield from self._model()  # its own `x` comes before that of the numbers
        names = {name: f"x_{name}" if len(case.inputs) > 1 else "x" for name in case.inputs}
        for name, variable in names.items():
            yield from self._set(variable, case.inputs[name])
        yield from self._weights()
        actual = yield from self._call(names)
        slot = self.emitted.slots.get(case.name)
        of_data = case.quantity in ("forward", "input_gradient") or case.name == "loss"
        yield from self._end(actual, None if of_data else slot)

    def _set(self, name: str, number: Number) -> Iterator[str]:
        """A tensor of data, channels last."""
        if number.drawn:
            code = number.code
            yield (
                f"{name} = np.moveaxis({code}, 1, -1)"
                if number.value.ndim > 2
                else (f"{name} = {code}")
            )
        else:
            yield from printed(f"{name} = np.array(", written(_last(number.value)), ")")

    def _model(self) -> Iterator[str]:
        """The model, its statements without the function around them."""
        build = self.source.definitions[self.emitted.entry]
        assert isinstance(build, ast.FunctionDef)
        statements = [s for s in build.body if not isinstance(s, ast.Expr)]
        if all(isinstance(s, ast.Assign | ast.Return) for s in statements):
            for statement in statements:
                made = _Bare().visit(ast.parse(ast.unparse(statement).removeprefix("return ")))
                text = ast.unparse(made)
                yield (
                    f"model = {text}"
                    if isinstance(statement, ast.Return)
                    # `x` and the names of inputs are those of the numbers.
                    else (text)
                )
        else:
            yield f"model = {self.emitted.entry}()"

    def _weights(self) -> Iterator[str]:
        for name, slot in self.emitted.slots.items():
            layer, _, variable = slot.path.rpartition("/")
            code = code_in(self.case.weights[name], slot)
            code = code if self.case.weights[name].drawn else f"np.array({code})"
            yield f'model.get_layer("{layer}").{variable}.assign({code})'

    def _call(self, names: dict[str, str]) -> Generator[str, None, str]:
        """The passes; returns the expression of what is wrong."""
        case = self.case
        given = _gathered(names)
        if case.steps:
            for name, number in case.targets.items():
                yield from self._set(f"target_{name}", number)
            wanted = _gathered({name: f"target_{name}" for name in case.targets})
            if self.emitted.logits:
                yield "model = logits_model(model)"
            yield "compile_model(model, run_eagerly=True)"
            yield f"for update in range({case.steps}):"
            call = f"train_step(model, {given}, {wanted}, update, {case.per_epoch})"
            yield f"{INDENT}loss = {call}"
            return "loss" if case.name == "loss" else self._variable(case.name)
        outputs = list(case.cotangents)
        values = {name: f'y["{name}"]' if len(outputs) > 1 else "y" for name in outputs}
        run = f"y = model({given}, training={case.training})"
        if case.quantity in ("forward", "running_statistics"):
            yield run
            forward = case.quantity == "forward"
            return values[case.output] if forward else self._variable(case.name)
        for name, number in case.cotangents.items():
            yield from self._set(f"g_{name}", number)
        source = names[case.input]
        if case.quantity == "input_gradient":
            yield from (f"{variable} = tf.constant({variable})" for variable in names.values())
        else:
            source = f"{self._variable(case.name)}.value"
        yield "with tf.GradientTape() as tape:"
        yield f"{INDENT}tape.watch({source})"
        yield f"{INDENT}{run}"
        heads = f"[{', '.join(values[name] for name in outputs)}]"
        seeds = f"[{', '.join(f'tf.constant(g_{name}, y.dtype)' for name in outputs)}]"
        if len(outputs) > 1:
            seeds = f"[{', '.join(f'tf.constant(g_{n}, {values[n]}.dtype)' for n in outputs)}]"
        return f"tape.gradient({heads}, {source}, output_gradients={seeds})"

    def _variable(self, name: str) -> str:
        layer, _, variable = self.emitted.slots[name].path.rpartition("/")
        return f'model.get_layer("{layer}").{variable}'

    def _end(self, actual: str, slot: Slot | None) -> Iterator[str]:
        stored = slot is not None
        expected = slot.store(self.case.expected) if slot is not None else _last(self.case.expected)
        part = picked(expected, self.case, own=not stored and expected.ndim < 3)
        yield f"actual = keras.ops.convert_to_numpy({actual}){part.index}"
        yield from printed("expected = np.array(", written(part.value), ")")
        yield 'print("keras", keras.__version__, actual, "expected", expected, sep="\\n")'
        tolerance = f"rtol=0, atol={self.case.tolerance!r}"
        yield f"np.testing.assert_allclose(actual, expected, {tolerance})"


def _last(value: np.ndarray) -> np.ndarray:
    """Channels last; labels have none."""
    data = value.ndim > 2 and np.issubdtype(value.dtype, np.floating)
    return np.moveaxis(value, 1, -1) if data else value


def _gathered(values: dict[str, str]) -> str:
    """One value, or a dict of several by name."""
    if len(values) == 1:
        return next(iter(values.values()))
    return "{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}"
