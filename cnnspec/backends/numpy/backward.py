"""The backward pass of a NumPy class: statements in reverse, gradients added where they meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from cnnspec.backends.branches import Statement
from cnnspec.backends.variables import RUNNING, Names, Plan
from cnnspec.backends.writer import Writer, literal


class Backward:
    """Writes `backward(g)`: from the gradients of what a method returns to those of its inputs.

    Args:
        local: the name of every value.
        names: the names that are taken.
        inputs: name and key of each input of the scope.
        outputs: name -> key of what the method returns.
        auxiliary: keys of statements that run in training only.
        flags: key of a statement that merges -> source that says whether it is there. Where it is
            not, its value is that of its first input.
    """

    def __init__(
        self,
        local: Plan,
        names: Names,
        inputs: Sequence[tuple[str, str]],
        outputs: Mapping[str, str],
        auxiliary: frozenset[str] = frozenset(),
        flags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.local = local
        self.names = names
        self.inputs = inputs
        self.outputs = outputs
        self.auxiliary = auxiliary
        self.flags = flags
        self.gradient: dict[str, str] = {}
        self.known: set[str] = set()
        self.waiting: dict[str, list[str]] = {}

    def named(self, key: str) -> str:
        """The variable that holds a value's gradient."""
        variable = self.local[key]
        if variable not in self.gradient:
            name = "g" if variable == RUNNING else self.names.take(f"g_{variable}")
            self.gradient[variable] = name
        return self.gradient[variable]

    def write(
        self,
        writer: Writer,
        body: Sequence[Statement],
        backs: Sequence[str],
        always: Mapping[str, str],
        *,
        block: bool,
    ) -> None:
        """The function.

        Args:
            writer: inside the forward method.
            body: the statements, in order.
            backs: the closure that each has returned.
            always: the outputs that inference has as well.
            block: whether gradients go in and out as tuples, not by name.
        """
        single = len(self.outputs) == 1
        argument = self.named(next(iter(self.outputs.values()))) if single else "gradients"
        with writer.indented(f"def backward({argument}):"):
            if single:
                self.known.update(self.outputs.values())
            elif block:
                self._unpack(writer)
            elif len(always) < len(self.outputs):
                self._by_mode(writer, always)
            else:
                self._entries(writer, self.outputs)
            for part, back in zip(reversed(body), reversed(backs), strict=True):
                self._statement(writer, part, back)
            self._return(writer, block=block)

    def _entries(self, writer: Writer, outputs: Mapping[str, str]) -> None:
        for name, key in outputs.items():
            given = f"gradients[{literal(name)}]"
            if key in self.known:
                given = f"{self.named(key)} + {given}"
            writer.line(f"{self.named(key)} = {given}")
            self.known.add(key)

    def _unpack(self, writer: Writer) -> None:
        """Gradients of a block's several outputs."""
        targets, extra = [], []
        for key in self.outputs.values():
            if key in targets or key in self.known:
                part = self.names.take(f"{self.named(key)}_part")
                targets.append(part)
                extra.append((self.named(key), part))
            else:
                targets.append(self.named(key))
                self.known.add(key)
        writer.line(f"{', '.join(targets)} = gradients")
        for target, part in extra:
            writer.line(f"{target} = {target} + {part}")

    def _by_mode(self, writer: Writer, always: Mapping[str, str]) -> None:
        """Several outputs in training, fewer in inference."""
        only = {n: k for n, k in self.outputs.items() if n not in always}
        if len(always) == 1:
            ((name, key),) = always.items()
            given = f"gradients[{literal(name)}] if training else gradients"
            writer.line(f"{self.named(key)} = {given}")
            self.known.add(key)
        else:
            self._entries(writer, always)
        with writer.indented("if training:"):
            for name, key in only.items():
                given = f"gradients[{literal(name)}]"
                if key in self.known:
                    given = f"{self.named(key)} + {given}"
                writer.line(f"{self.named(key)} = {given}")
        self.known.update(only.values())

    def _statement(self, writer: Writer, part: Statement, back: str) -> None:
        given = [self._given(key) for key in part.values]
        call = f"{back}({given[0]})" if len(given) == 1 else f"{back}(({', '.join(given)}))"
        if part.values[0] in self.auxiliary:
            writer.line("if training:")
            writer.depth += 1
            self._contribute(writer, part, call, auxiliary=True)
            writer.depth -= 1
            return
        if part.values[0] in self.flags:
            self._chosen(writer, part, call, given[0])
        else:
            self._contribute(writer, part, call, auxiliary=False)
        waiting = [(key, name) for key in part.reads for name in self.waiting.pop(key, [])]
        if waiting:
            with writer.indented("if training:"):
                for key, name in waiting:
                    writer.line(f"{self.named(key)} = {self.named(key)} + {name}")

    def _chosen(self, writer: Writer, part: Statement, call: str, given: str) -> None:
        """A statement that is not there in all instances; then only its first input is read."""
        known = set(self.known)
        with writer.indented(f"if {self.flags[part.values[0]]}:"):
            self._contribute(writer, part, call, auxiliary=False)
        first, *others = (self.named(key) for key in part.reads)
        lines = []
        if part.reads[0] in known:
            added = f"({given})" if " if " in given else given
            lines.append(f"{first} = {first} + {added}")
        elif first != given:
            lines.append(f"{first} = {given}")
        pairs = zip(part.reads[1:], others, strict=True)
        new = {name for key, name in pairs if key not in {part.reads[0], *known}}
        lines += [f"{name} = 0.0" for name in dict.fromkeys(others) if name in new]
        if lines:
            with writer.indented("else:"):
                for line in lines:
                    writer.line(line)

    def _given(self, key: str) -> str:
        """A value's gradient; zeros for what nobody reads, or what only training reads."""
        if key in self.known:
            return self.named(key)
        zeros = f"np.zeros_like({self.local[key]})"
        waiting = self.waiting.pop(key, [])
        return f"{' + '.join(waiting)} if training else {zeros}" if waiting else zeros

    def _contribute(self, writer: Writer, part: Statement, call: str, *, auxiliary: bool) -> None:
        targets, extra = [], []
        for key in part.reads:
            known = key in self.known
            late = auxiliary and not known and not self._inside(key)
            if late:
                name = self.names.take(f"g_{part.labels[0].replace('.', '_')}_part")
                self.waiting.setdefault(key, []).append(name)
                targets.append(name)
            elif known:
                if len(part.reads) == 1:
                    writer.line(f"{self.named(key)} = {self.named(key)} + {call}")
                    return
                name = self.names.take(f"{self.named(key)}_part")
                targets.append(name)
                extra.append((self.named(key), name))
            else:
                targets.append(self.named(key))
                self.known.add(key)
        target = ", ".join(targets)
        # A tuple that is too long stands in brackets, a line for each.
        writer.line(
            f"{target} = {call}" if writer.fits(f"{target} = (") else f"({target},) = {call}"
        )
        for target, name in extra:
            writer.line(f"{target} = {target} + {name}")

    def _inside(self, key: str) -> bool:
        """Whether a value is made by a statement that runs in training only."""
        return key.partition(".")[0] in self.auxiliary

    def _return(self, writer: Writer, *, block: bool) -> None:
        gradients = [self._given(key) for _, key in self.inputs]
        if len(gradients) == 1:
            writer.line(f"return {gradients[0]}")
        elif block:
            writer.line(f"return {', '.join(gradients)}")
        else:
            pairs = zip(self.inputs, gradients, strict=True)
            entries = ", ".join(f"{literal(name)}: {value}" for (name, _), value in pairs)
            writer.line(f"return {{{entries}}}")
