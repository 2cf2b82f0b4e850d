"""Which parameters of a network come from another one, and how they are trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cnnspec.data.dataset import Array
from cnnspec.diagnostics import DataError, Diagnostic, Label, SetupError, did_you_mean
from cnnspec.graph import Graph
from cnnspec.initializers import initial_weights
from cnnspec.train.preflight import require_training
from cnnspec.training import Group
from cnnspec.training.groups import matches
from cnnspec.weights import fit

__all__ = ["Taken", "grouped", "take"]

MOST_REPORTED = 10


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """Weights to start from.

    Attributes:
        weights: all of the network's, by canonical name.
        taken: names of those that come from the source.
        fresh: names of those that are drawn.
        unused: names of the source that the network does not have.
        dropped: names of the source that were left out on purpose.
    """

    weights: Mapping[str, Array]
    taken: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]
    dropped: tuple[str, ...]


def take(
    graph: Graph,
    source: Mapping[str, Array],
    *,
    of: Graph | None = None,
    drop_after: str | None = None,
    seed: int | None = None,
    what: str = "the weights",
) -> Taken:
    """Take over every parameter whose name and shape fit, and draw the others.

    Args:
        graph: the new network.
        source: weights of another one, by name.
        of: that other network; by default the new one stands for it.
        drop_after: a layer, block or sequence of it; what comes later is left out, in the order
            of the network.
        seed: of the drawn ones, instead of the network's.
        what: what messages call the source.

    Raises:
        SetupError: there is no layer of this name.
        DataError: a parameter has another shape than the network's, nothing fits at all, or a
            value is not finite.
    """
    dropped = _later(of or graph, drop_after) if drop_after is not None else frozenset()
    params = graph.params()
    faults = []
    taken = {}
    for name, array in source.items():
        if name in dropped or name not in params:
            continue
        if array.shape != params[name].shape:
            origin = graph.node(graph.owners()[name]).origin
            faults.append(
                Diagnostic(
                    "weight-shape",
                    f"{what}: `{name}` has shape {list(array.shape)}, and the network needs "
                    f"{list(params[name].shape)}",
                    secondary=() if origin is None else (Label(origin.span, "the layer"),),
                    help="`--drop-after LAYER` leaves out what comes after a layer",
                )
            )
        taken[name] = array
    if faults:
        raise DataError(faults[:MOST_REPORTED])
    if not taken:
        raise DataError(
            Diagnostic(
                "nothing-taken",
                f"{what} have no parameter that the network could take over",
                notes=(f"they have {_some(list(source))}", f"it has {_some(list(params))}"),
            )
        )
    fresh = initial_weights(graph, seed=seed)
    weights = fit({**fresh, **taken}, graph, what=what)
    return Taken(
        weights,
        tuple(name for name in params if name in taken),
        tuple(name for name in params if name not in taken),
        tuple(name for name in source if name not in params and name not in dropped),
        tuple(name for name in source if name in dropped),
    )


def grouped(graph: Graph, freeze: Sequence[str], rates: Mapping[str, float]) -> Graph:
    """The network with groups of parameters put before those of its `train:` section.

    Args:
        graph: with a `train:` section.
        freeze: patterns of parameters that are not trained.
        rates: pattern -> factor of the learning rate.

    Raises:
        SpecError: there is no `train:` section.
        SetupError: a pattern matches nothing, a factor is not above 0, or nothing is left to
            train.
    """
    training = require_training(graph)
    names = [name for name, param in graph.params().items() if not param.statistic]
    for pattern in (*freeze, *rates):
        if not any(matches(pattern, name) for name in names):
            raise SetupError(
                Diagnostic(
                    "group-matches-nothing",
                    f"no parameter is called `{pattern}`, and nothing above one",
                    help=did_you_mean(pattern, [*names, *(n.rpartition(".")[0] for n in names)])
                    if len(names) < 200
                    else "",
                )
            )
    for pattern, factor in rates.items():
        if not 0 < factor < float("inf"):
            raise SetupError(
                Diagnostic(
                    "out-of-range",
                    f"the rate of `{pattern}` is {factor:g}, and a factor is above 0",
                    help="`--freeze` keeps parameters as they are" if factor == 0 else "",
                )
            )
    groups = (
        *(Group(match=(pattern,), trainable=False) for pattern in freeze),
        *(Group(match=(pattern,), lr_scale=factor) for pattern, factor in rates.items()),
    )
    found = dataclasses.replace(
        graph, training=dataclasses.replace(training, groups=(*groups, *training.groups))
    )
    frozen = found.frozen()
    if not any(graph.params()[name].trainable and name not in frozen for name in names):
        raise SetupError(
            Diagnostic("nothing-to-train", "all parameters are frozen", help="freeze fewer")
        )
    return found


def _later(graph: Graph, name: str) -> frozenset[str]:
    """Names of the parameters of all layers after one, or after a block or sequence."""
    inside = [
        place
        for place, node in enumerate(graph.nodes)
        if node.id == name or node.id.startswith(f"{name}.")
    ]
    if not inside:
        known = sorted({part for node in graph.nodes for part in _enclosing(node.id)})
        raise SetupError(
            Diagnostic(
                "unknown-layer",
                f"there is no layer `{name}` to drop what comes after it",
                help=did_you_mean(name, known) if len(known) < 200 else "",
            )
        )
    later = {node.id for node in graph.nodes[max(inside) + 1 :]}
    return frozenset(name for name, owner in graph.owners().items() if owner in later)


def _enclosing(id: str) -> list[str]:
    parts = id.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _some(names: Sequence[str]) -> str:
    listed = ", ".join(f"`{name}`" for name in names[:5])
    return f"{listed} and {len(names) - 5} more" if len(names) > 5 else listed or "none"
