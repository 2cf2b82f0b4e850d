"""What the emitters share: class names, headers, the order of a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cnnspec.backends.base import Emitted, Place, Range, Slot
from cnnspec.backends.library import Library, names_in
from cnnspec.backends.writer import WIDTH, Code, Writer, unmarked
from cnnspec.diagnostics import Diagnostic, Label, SpecError
from cnnspec.graph import Graph, Node, Scope, Value
from cnnspec.ops.base import Op, Shape, show

LONGEST_SUMMARY = WIDTH - len('""": ."""')


def camel(name: str) -> str:
    """`lenet_tanh` as a class is called, `LenetTanh`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def snake(name: str) -> str:
    """A name in lower case, for functions."""
    return name.lower()


def summary_line(graph: Graph) -> str:
    """Inputs and outputs with their shapes, for a docstring; their number where that is long."""
    inputs = ", ".join(_named(i.name, i.shape, len(graph.inputs)) for i in graph.inputs)
    outputs = ", ".join(_named(o.name, o.value.shape, len(graph.outputs)) for o in graph.outputs)
    line = f"{inputs} -> {outputs} for each sample"
    if len(line) + len(graph.name) <= LONGEST_SUMMARY:
        return line
    return f"{len(graph.inputs)} inputs -> {len(graph.outputs)} outputs for each sample"


def _named(name: str, shape: Shape, count: int) -> str:
    return show(shape) if count == 1 else f"{name} {show(shape)}"


def check_clash(graph: Graph, entry: str, taken: Iterable[str], backend: str) -> None:
    """Refuse a network name whose class is called like a helper or an import.

    Raises:
        SpecError: at the name.
    """
    if entry in set(taken):
        raise SpecError(
            Diagnostic(
                "name-clash",
                f"the {backend} file already has a `{entry}`, which the network would be called",
                None if graph.origin is None else Label(graph.origin.span),
                help="give the network another `name:`",
            )
        )


def assemble(
    docstring: str,
    imports: Mapping[str, str],
    library: Library,
    body: Writer,
) -> Writer:
    """A whole file: docstring, the imports in use, the helpers in use, and the body."""
    plain = "\n".join(unmarked(line) for line in body.lines)
    helpers = library.closure(names_in(plain))
    used = set(names_in(plain)).union(*(h.needs for h in helpers)) if helpers else names_in(plain)
    writer = Writer()
    writer.line(f'"""{docstring}"""')
    writer.blank()
    # Standard library, third parties: the two groups that import sorters expect.
    for group in _groups({name: line for name, line in imports.items() if name in used}):
        for line in group:
            writer.line(line)
        writer.blank()
    constants = True  # one may stand right under the imports
    for helper in helpers:
        is_constant = not helper.text.startswith(("def ", "class ", "@"))
        writer.blank(1 if constants and is_constant else 2)
        writer.block(helper.text)
        constants = is_constant
    writer.blank(2)
    writer.lines.extend(body.lines)
    return writer


STANDARD = ("hashlib", "math")


def _groups(imports: Mapping[str, str]) -> list[list[str]]:
    lines = set(imports.values())
    standard = sorted(line for line in lines if line.split()[1] in STANDARD)
    plain = sorted(line for line in lines if line not in standard and line.startswith("import"))
    froms = sorted(line for line in lines if line.startswith("from"))
    return [group for group in (standard, plain + froms) if group]


def returned(values: Mapping[str, Code]) -> Code:
    """One output is a value, several are a dict by name."""
    if len(values) == 1:
        return next(iter(values.values()))
    return Code("{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}")


def folded(graph: Graph) -> dict[str, Node[Op]]:
    """Outputs whose loss reads what goes into their last node, with that node."""
    logits = graph.logits()
    found = {}
    for output in graph.outputs:
        if logits[output.name] is not output.value:
            assert isinstance(output.value, Node)
            found[output.name] = output.value
    return found


def enclosing(graph: Graph, value: Value) -> list[Scope]:
    """The scopes around a node, outermost first, without the network itself."""
    found: list[Scope] = []
    scope = graph.root
    while True:
        for child in scope.children:
            if isinstance(child, Scope) and value.id.startswith(f"{child.path}."):
                found.append(child)
                scope = child
                break
        else:
            return found


def places(graph: Graph, ranges: Mapping[str, Range], held: Mapping[str, str]) -> dict[str, Place]:
    """Where each node stands: its own mark, the marks of its inputs, the module that holds it."""
    found = {}
    for node in graph.nodes:
        marks = (f"{node.id}:{index}" for index in range(len(node.inputs)))
        inputs = tuple(ranges[name] for name in marks if name in ranges)
        found[node.id] = Place(ranges[node.id], inputs, held.get(node.id))
    return found


def emitted(
    graph: Graph,
    backend: str,
    entry: str,
    writer: Writer,
    slots: Mapping[str, Slot],
    held: Mapping[str, str] | None = None,
) -> Emitted:
    """The finished file, with what the graph knows about it."""
    source, ranges = writer.finish()
    return Emitted(
        text=source,
        backend=backend,
        entry=entry,
        slots=slots,
        lines=places(graph, ranges, held or {}),
        inputs=tuple((entry.name, entry.shape) for entry in graph.inputs),
        outputs=tuple(output.name for output in graph.outputs),
        logits=bool(folded(graph)),
        trains=graph.training is not None,
    )


def canonical_slots(graph: Graph) -> dict[str, Slot]:
    """Slots of a back end that keeps everything under canonical names, in canonical layouts."""
    return {
        name: Slot(name, param.layout, param.layout, param.shape)
        for name, param in graph.params().items()
    }
