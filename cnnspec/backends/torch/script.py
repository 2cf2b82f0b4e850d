"""A minimal case as a few lines of plain PyTorch."""

from __future__ import annotations

import ast
from collections.abc import Generator, Iterator

from cnnspec.backends.base import Emitted, Slot
from cnnspec.backends.case import Case, Number, Picked, code_in, headline, picked, printed, written
from cnnspec.backends.taken_apart import Source, inlined, names_in

INDENT = " " * 4


def script(case: Case, emitted: Emitted, about: str) -> str:
    """The script.

    Args:
        case: what it shows.
        emitted: its text.
        about: one line on what is wrong.
    """
    return _Writer(case, emitted).text(about)


class _Writer:
    def __init__(self, case: Case, emitted: Emitted) -> None:
        self.case = case
        self.emitted = emitted
        self.source = Source(emitted.text)

        single = self.case.dtype == "float32"
        self.dtype = "torch.float32" if single else "torch.float64"
        self.suffix = ", dtype=torch.float32" if single else ""
        cls = self.source.definitions[emitted.entry]
        plain = None if case.steps or len(emitted.outputs) > 1 else inlined(cls, self.case.training)
        self.plain = plain if plain is not None and self._loadable(plain[0]) else None

    def _loadable(self, made: list[ast.stmt]) -> bool:
        """Whether every parameter is in a module of its own."""
        names = {ast.unparse(t) for s in made if isinstance(s, ast.Assign) for t in s.targets}
        paths = [slot.path for slot in self.emitted.slots.values()]
        return all("." in path and path.partition(".")[0] in names for path in paths)

    def text(self, about: str) -> str:
        """All of it: head, definitions, numbers, the call, and what it should have given."""
        body = list(self._body())
        tree = ast.parse("\n".join(body))
        needed = self.source.needed(names_in([tree]))
        code = [self.source.code(name) for name in needed]
        used = names_in([tree, *(ast.parse(text) for text in code)]) | {"torch"}
        self.source.imports["torch"] = "import torch"
        self.source.imports["np"] = "import numpy as np"
        lines = [headline(about), "", *self.source.import_lines(used), ""]
        lines += [text + "\n" for text in code]
        return "\n".join([*lines, *body]) + "\n"

    def _body(self) -> Iterator[str]:
        case = self.case
        yield f"torch.set_default_dtype({self.dtype})"
        if case.name == "learning_rate":
            yield f"actual = [learning_rate(u, {case.per_epoch}) for u in range({case.steps})]"
            yield from self._end("torch.tensor(actual)", None)
            return
        if any(True for _ in case.arrays()):
            yield "rng = np.random.default_rng(0)"
        arguments = self._arguments()
        names = [name for name, _ in self.emitted.inputs]
        for argument, name in zip(arguments, names, strict=True):
            wanted = case.quantity == "input_gradient" and name == case.input
            yield from self._set(argument, case.inputs[name], wanted=wanted)
        yield from self._model()
        actual = yield from self._call(arguments)
        slot = self.emitted.slots.get(case.name)
        of_data = case.quantity in ("forward", "input_gradient") or case.name == "loss"
        yield from self._end(actual, None if of_data else slot)

    def _arguments(self) -> list[str]:
        if self.plain is not None:
            return self.plain[2]
        names = [name for name, _ in self.emitted.inputs]
        return ["x"] if len(names) == 1 else names

    def _set(self, name: str, number: Number, *, wanted: bool = False) -> Iterator[str]:
        gradient = ", requires_grad=True" if wanted else ""
        yield from printed(f"{name} = torch.tensor(", self._code(number), f"{gradient})")

    def _code(self, number: Number, slot: Slot | None = None) -> str:
        return code_in(number, slot) + (self.suffix if number.drawn else "")

    def _model(self) -> Iterator[str]:
        """The model with its weights."""
        states: dict[str, list[tuple[str, str]]] = {}
        for name, slot in self.emitted.slots.items():
            head, _, rest = slot.path.partition(".")
            key = ("model", slot.path) if self.plain is None else (head, rest)
            value = self._code(self.case.weights[name], slot)
            states.setdefault(key[0], []).append((key[1], f"torch.tensor({value})"))
        if self.plain is None:
            yield f"model = {self.emitted.entry}(){'' if self.case.training else '.eval()'}"
        else:
            modes = self.case.two_modes()
            for statement in self.plain[0]:
                text = ast.unparse(statement)
                name = text.partition(" = ")[0]
                yield text + (".eval()" if name in modes and not self.case.training else "")
        for module, entries in states.items():
            inner = ", ".join(f'"{key}": {value}' for key, value in entries)
            yield from printed(f"{module}.load_state_dict(", "{" + inner + "}", ", strict=False)")

    def _call(self, arguments: list[str]) -> Generator[str, None, str]:
        """The passes; returns the expression of what is wrong."""
        case = self.case
        if case.steps:
            for name, number in case.targets.items():
                yield from self._set(f"target_{name}", number)
            given = _gathered({n: n for n in arguments})
            wanted = _gathered({name: f"target_{name}" for name in case.targets})
            yield "optimizer = make_optimizer(model)"
            yield f"for update in range({case.steps}):"
            call = f"train_step(model, optimizer, {given}, {wanted}, update, {case.per_epoch})"
            yield f"{INDENT}loss = {call}"
            if case.name == "loss":
                return "torch.tensor(loss)"
            return f'model.state_dict()["{self.emitted.slots[case.name].path}"]'
        outputs = [output.name for output in case.graph.outputs if output.name in case.cotangents]
        if self.plain is None:
            yield f"y = model({', '.join(arguments)})"
        else:
            yield from (ast.unparse(statement) for statement in self.plain[1])
        values = {name: f'y["{name}"]' if len(outputs) > 1 else "y" for name in outputs}
        if case.quantity == "forward":
            return values[case.output]
        if case.quantity == "running_statistics":
            return self._parameter(case.name)
        for name, number in case.cotangents.items():
            yield from self._set(f"g_{name}" if len(outputs) > 1 else "g", number)
        heads = ", ".join(values[name] for name in case.cotangents)
        seeds = ", ".join(f"g_{n}" if len(outputs) > 1 else "g" for n in case.cotangents)
        several = len(outputs) > 1
        call = f"torch.autograd.backward([{heads}], [{seeds}])" if several else ""
        yield call or f"{heads}.backward({seeds})"
        if case.quantity == "input_gradient":
            names = [name for name, _ in self.emitted.inputs]
            return f"{arguments[names.index(case.input)]}.grad"
        return f"{self._parameter(case.name)}.grad"

    def _parameter(self, name: str) -> str:
        path = self.emitted.slots[name].path
        head, _, rest = path.partition(".")
        trained = self.case.quantity == "parameter_gradient"
        get_ = "get_parameter" if trained else "get_buffer"
        if self.plain is None:
            return f'model.{get_}("{path}")'
        return f"{head}.{rest}" if rest.isidentifier() else f'{head}.{get_}("{rest}")'

    def _end(self, actual: str, slot: Slot | None) -> Iterator[str]:
        expected = self.case.expected if slot is None else slot.store(self.case.expected)
        part: Picked = picked(expected, self.case, own=slot is None)
        yield f"actual = {actual}.detach(){part.index}"
        yield from printed("expected = torch.tensor(", written(part.value), self.suffix + ")")
        yield 'print("torch", torch.__version__, actual, "expected", expected, sep="\\n")'
        tolerance = f"rtol=0, atol={self.case.tolerance!r}"
        yield f"torch.testing.assert_close(actual, expected, {tolerance})"


def _gathered(values: dict[str, str]) -> str:
    """One value, or a dict of several by name."""
    if len(values) == 1:
        return next(iter(values.values()))
    return "{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}"
