"""Where a difference of the whole begins: what no layer on its own shows, such as a wrong wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnnspec.backends.base import At
from cnnspec.check import bounds, effort
from cnnspec.check.bounds import FLOOR, UNIT
from cnnspec.check.compare import Comparison, compare
from cnnspec.quantities import REFERENCE

if TYPE_CHECKING:
    from cnnspec.check.run import Checker


def first_different(checker: Checker, found: Comparison) -> Comparison | None:
    """The layer at which a difference that shows end to end begins; None where it is not found."""
    if any(name in checker.options.sources for name in found.backends):
        return first_different_module(checker, found)
    return first_different_node(checker, found)


def first_different_module(checker: Checker, found: Comparison) -> Comparison | None:
    """In a file of the user's own, which has no taps: the first named module that differs.

    Compares the output of every module that is named like a node, in topological order.
    """
    names = [n for n in found.backends if n in checker.options.sources]
    if not names:
        return None
    (name, *_) = names
    training = found.training
    known = checker.known[found.dtype, training]
    answer, whole = known.answer, known.whole
    assert whole is not None
    inputs: Any = known.sample.inputs
    answers = checker.tell({name: ("watch", (inputs,), {"training": training})}, found.dtype)
    watched = answers.get(name, {})
    before = ""
    for node in known.nodes:
        if node.id not in watched:
            continue
        value = watched[node.id]
        compared = compare(
            answer.values[node.id],
            value,
            whole.values[node.id],
            unit=UNIT[found.dtype],
            floor=FLOOR[found.dtype],
            backends=("numpy", name),
            quantity="forward",
            mode="end_to_end",
            dtype=found.dtype,
            training=training,
            node=node.id,
            name=node.id,
            reason=before and f"the last named module in front of it that agrees is `{before}`",
        )
        if not compared.agree:
            scale = {"unit": UNIT["float64"], "floor": FLOOR["float64"]}
            bound = whole.values[node.id]
            checker.evidence.look(compared, answer.values[node.id], value, bound, **scale)
            return compared
        before = node.id
    return None


def first_different_node(checker: Checker, found: Comparison) -> Comparison | None:
    """Of two traces of the whole: the first value that differs, or else the last cotangent.

    A layer that is right on its own and gives another value has been given another input. Where
    all values agree and the cotangent of one does not, a layer that reads it hands its gradient
    on to another value.
    """
    if found.dtype != "float64" or checker.failed & set(found.backends):
        return None
    known = checker.reference_of(found.training)
    options: dict[str, Any] = {"training": found.training, "at": At()}
    _, replicates = effort.replicates(checker.graph)
    whole = bounds.end_to_end(
        checker.graph,
        checker.reference,
        known.sample,
        known.answer,
        known.own,
        seed=checker.seed,
        replicates=replicates,
        cotangents=True,
        **options,
    )
    options["cotangents"] = known.sample.cotangents
    names = [n for n in found.backends if n != REFERENCE or not checker.reference_stands_in]
    answers = checker.tell(dict.fromkeys(names, ("trace", (known.sample.inputs,), options)))
    if len(answers) < len(names):
        return None
    a, b = (answers.get(name, known.answer) for name in found.backends)
    users = checker.graph.users()
    pairs = [
        (a.values, b.values, whole.values, node.id, node.id, "forward") for node in known.nodes
    ]
    if found.quantity != "forward":  # else values agree and outputs differ: these are mixed up
        pairs += [
            (a.gradients, b.gradients, whole.cotangents, node.id, reader.id, "input_gradient")
            for node in reversed(known.nodes)
            for reader in users[node.id][-1:]
        ]
    for left, right, limits, name, node, quantity in pairs:
        if name not in left or name not in right:
            continue
        compared = compare(
            left[name],
            right[name],
            limits[name],
            unit=UNIT["float64"],
            floor=FLOOR["float64"],
            backends=found.backends,
            quantity=quantity,
            mode="end_to_end",
            dtype="float64",
            training=found.training,
            node=node,
            name=name,
        )
        if not compared.agree:
            return compared
    return None
