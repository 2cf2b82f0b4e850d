"""A file of the user's own draws its own random numbers, so these are switched off for comparison.

The network is then compared with every dropout at probability 0, on both sides, and the
probabilities themselves are compared as numbers. A file whose random layers cannot be found under
the spec's names is compared in inference mode alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cnnspec.graph import Graph, Node
from cnnspec.ops.base import Op
from cnnspec.passes.rebuild import rebuild

if TYPE_CHECKING:
    from cnnspec.check.run import Checker


def quiet(graph: Graph) -> Graph:
    """The network with every random layer's probability at 0."""
    return rebuild(graph, _silent)


def _silent(node: Node[Op]) -> Op:
    return node.op.model_copy(update={"p": 0.0}) if node.op.random else node.op


def silence(checker: Checker) -> None:
    """Compare the probabilities in the user's files, and switch the layers off."""
    random = [node for node in checker.original.nodes if node.op.random]
    names = [name for name in checker.options.sources if name not in checker.failed]
    if not random or not names:
        return
    compared: set[str] = set()
    for dtype in checker.options.dtypes:
        calls: dict[str, tuple[str, tuple[()], dict[str, object]]] = {
            name: ("random_rates", (), {}) for name in names if name in checker.names(dtype)
        }
        for name, rates in checker.tell(calls, dtype).items():
            if any(node.weights_id not in rates for node in random):
                continue
            if name not in compared:
                compared.add(name)
                for node in random:
                    checker.add(
                        np.asarray(node.op.fields()["p"]),
                        np.asarray(rates[node.weights_id]),
                        0.0,
                        backends=("spec", name),
                        quantity="forward",
                        mode="end_to_end",
                        dtype=dtype,
                        training=True,
                        node=node.id,
                        name=f"{node.id}.p",
                    )
            checker.tell({name: ("silence", (), {})}, dtype)
            checker.silent.add(name)
            note = f"{name}: random layers are switched off on both sides; their rates are compared"
            if note not in checker.report.notes:
                checker.report.notes.append(note)
