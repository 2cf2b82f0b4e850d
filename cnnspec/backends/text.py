"""What the emitters share: class names, headers, the order of a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cnnspec.backends.base import Emitted, Slot
from cnnspec.backends.groups import Group, Groups
from cnnspec.backends.library import Library, definitions, names_in
from cnnspec.backends.parts import Part
from cnnspec.backends.placing import places
from cnnspec.backends.symbols import Symbol
from cnnspec.backends.writer import WIDTH, Code, Writer, literal, unmarked
from cnnspec.diagnostics import Diagnostic, Label, SpecError
from cnnspec.graph import Graph, Node, Scope, Value
from cnnspec.ops.base import Op, Shape, show

LONGEST_SUMMARY = WIDTH - len('""": ."""')


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
    named = names_in(plain)
    defined = definitions(plain)
    # What the body defines stands in the place of a helper of the same name.
    helpers = [helper for helper in library.closure(named) if helper.name not in defined]
    used = named.union(*(h.needs for h in helpers))
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


STANDARD = ("contextvars", "hashlib", "math")


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


def canonical_slots(graph: Graph) -> dict[str, Slot]:
    """Slots of a back end that keeps everything under canonical names, in canonical layouts."""
    return {
        name: Slot(name, param.layout, param.layout, param.shape)
        for name, param in graph.params().items()
    }


# --- classes -------------------------------------------------------------------------------------


def check_clashes(
    graph: Graph, entry: str, groups: Groups, taken: Iterable[str], backend: str
) -> None:
    """Refuse names of the network and of blocks that the file has already.

    Raises:
        SpecError: at the name.
    """
    check_clash(graph, entry, taken, backend)
    used = {*taken, entry}
    for group in groups.blocks:
        if group.name in used:
            origin = group.members[0].origin
            raise SpecError(
                Diagnostic(
                    "name-clash",
                    f"the {backend} file already has a `{group.name}`, "
                    f"which block `{group.block}` would be called",
                    None if origin is None else Label(origin.span),
                    help="give the block another name",
                )
            )
        used.add(group.name)


def arguments(signature: Iterable[Symbol]) -> list[str]:
    """The arguments of a constructor, with their defaults."""
    return [s.name if s.required else f"{s.name}={literal(s.default)}" for s in signature]


def part_of(group: Group, node: Node[Op]) -> Part:
    """The statement that computes a node of the network's own scope."""
    return next(part for part in group.parts if part.child is node)


def foldable(graph: Graph, root: Group, folded: Mapping[str, Node[Op]]) -> bool:
    """Whether every final activation is the last statement of its output."""
    if any(output.training_only for output in graph.outputs):
        return False
    users = graph.users()
    own = {part.child.id for part in root.parts if isinstance(part.child, Node)}
    return all(not users[node.id] and node.id in own for node in folded.values())


def without(root: Group, folded: Mapping[str, Node[Op]]) -> tuple[list[Part], dict[str, str]]:
    """The statements but the final activations, and what the losses read."""
    last = {id(node) for node in folded.values()}
    body = [part for part in root.parts if id(part.child) not in last]
    logits = dict(root.outputs)
    for name, node in folded.items():
        logits[name] = part_of(root, node).reads[0]
    return body, logits


def always(graph: Graph, values: Mapping[str, str]) -> dict[str, str]:
    """Outputs that inference has as well."""
    only = {output.name for output in graph.outputs if output.training_only}
    return {name: key for name, key in values.items() if name not in only}


def auxiliary(graph: Graph, group: Group, body: Sequence[Part]) -> set[str]:
    """Keys of statements that only outputs of training need."""
    if group.block is not None or not any(output.training_only for output in graph.outputs):
        return set()
    needed = set(always(graph, dict(group.outputs)).values())
    for part in reversed(body):
        if needed.intersection(part.values):
            needed.update(part.reads)
    return {part.key for part in body if not needed.intersection(part.values)}


def emitted(
    graph: Graph,
    backend: str,
    entry: str,
    writer: Writer,
    slots: Mapping[str, Slot],
    groups: Groups,
) -> Emitted:
    """The finished file, with what the graph knows about it."""
    source, ranges = writer.finish()
    return Emitted(
        text=source,
        backend=backend,
        entry=entry,
        slots=slots,
        lines=places(groups, ranges),
        inputs=tuple((entry.name, entry.shape) for entry in graph.inputs),
        outputs=tuple(output.name for output in graph.outputs),
        training_only=tuple(o.name for o in graph.outputs if o.training_only),
        logits=bool(folded(graph)),
        trains=graph.training is not None,
    )
