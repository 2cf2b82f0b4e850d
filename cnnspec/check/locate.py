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
            return compared
        before = node.id
    return None
