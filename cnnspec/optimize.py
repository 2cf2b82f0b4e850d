"""Networks for inference: fewer layers, and weights that have taken in those that are gone.

`optimize` is what `cnnspec compile --optimize inference` writes, and `fold_weights` what it makes
of the weights; docs/optimize.md lists what changes, and what is left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cnnspec.api import Source, Weights, load
from cnnspec.graph import Graph
from cnnspec.passes.inference import optimized

if TYPE_CHECKING:
    from cnnspec.backends.base import Array

__all__ = ["fold_weights", "optimize"]


def optimize(network: Graph | Source) -> Graph:
    """The network for inference; `fold_weights` makes its weights.

    It has the layers of the original under their names, but for those that are gone and for
    positions in a sequence, and no `train:`.

    Args:
        network: a graph, or what `load` takes; it stays as it is.

    Raises:
        SpecError: the spec is wrong, or a layer uses the weights of one that only training needs.
        SetupError: no such file.
    """
    return optimized(_graph(network)).graph


def fold_weights(network: Graph | Source, weights: Weights) -> dict[str, Array]:
    """The weights of `optimize(network)`.

    A norm y = g * (x - m) / sqrt(v + eps) + b behind a layer with weights w and bias a leaves
    w' = s * w and a' = s * (a - m) + b with s = g / sqrt(v + eps), for each output channel. It is
    computed in float64, and rounded once to the type that the weights have.

    Args:
        network: the original, a graph or what `load` takes.
        weights: of the original: a safetensors file, or arrays by canonical name.

    Returns:
        Arrays by canonical name of the optimized network, in canonical layout.

    Raises:
        SpecError: as `optimize`.
        DataError: the weights do not fit the original, or are not finite once they are folded.
        SetupError: no such file.
    """
    from cnnspec.passes.fold import fold
    from cnnspec.weights import fit, read_weights

    graph = _graph(network)
    given = fit(weights, graph) if isinstance(weights, Mapping) else read_weights(weights, graph)
    return fold(optimized(graph), given)


def _graph(network: Graph | Source) -> Graph:
    return network if isinstance(network, Graph) else load(network)
