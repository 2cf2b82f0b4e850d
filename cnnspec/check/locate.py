"""For files of the user's own, which have no taps: the first named module whose output differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnnspec.check.bounds import FLOOR, UNIT
from cnnspec.check.compare import Comparison, compare

if TYPE_CHECKING:
    from cnnspec.check.run import Checker


def first_different_module(checker: Checker, found: Comparison) -> Comparison | None:
    """Compare the output of every module that is named like a node, in topological order."""
    names = [n for n in found.backends if n in checker.options.sources]
    if not names or found.dtype != "float64":
        return None
    (name, *_) = names
    training = found.training
    known = checker.known[training]
    answer, whole = known.answer, known.whole
    assert whole is not None
    inputs: Any = known.sample.inputs
    answers = checker.tell({name: ("watch", (inputs,), {"training": training})})
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
            unit=UNIT["float64"],
            floor=FLOOR["float64"],
            backends=("numpy", name),
            quantity="forward",
            mode="end_to_end",
            dtype="float64",
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
