"""Which blocks use which: recursion, and nesting without end, are refused before any is built."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping

from cnnspec.diagnostics import Label
from cnnspec.faults import Faults
from cnnspec.spec import Block, Layer

MOST_SCOPES = 64
"""So many blocks, sequences and repeats may stand inside each other."""


def report_nesting(faults: Faults, blocks: Mapping[str, Block], layers: tuple[Layer, ...]) -> None:
    """Report blocks that use themselves, directly or not, and what is nested too deep.

    Args:
        faults: of the root spec.
        blocks: every block by name.
        layers: of the network.
    """
    depths: dict[str, int] = {}
    for start in blocks:
        if start in depths:
            continue
        # A walk in depth without recursion: there may be thousands of blocks.
        trail: list[tuple[str, Iterator[Layer]]] = [(start, _uses(blocks[start].layers))]
        open = {start}
        while trail:
            name, uses = trail[-1]
            layer = next(uses, None)
            if layer is None:
                trail.pop()
                open.remove(name)
                depths[name] = depth_of(blocks[name].layers, depths)
                if depths[name] > MOST_SCOPES:
                    document = blocks[name].document
                    _too_deep(faults.of(document), blocks[name].layers, depths)
                    return
            elif layer.key in open:
                _recursion(faults, blocks, [each for each, _ in trail], layer)
                return
            elif layer.key not in depths:
                trail.append((layer.key, _uses(blocks[layer.key].layers)))
                open.add(layer.key)
    if depth_of(layers, depths) > MOST_SCOPES:
        _too_deep(faults, layers, depths)


def depth_of(layers: Iterable[Layer], depths: Mapping[str, int]) -> int:
    """How many scopes stand inside each other in these layers, theirs included.

    Sequences are no deeper than the document, which is bounded.
    """
    deepest = 0
    for layer in layers:
        inner = depth_of(layer.layers, depths) if layer.layers else depths.get(layer.key, 0)
        deepest = max(deepest, inner + (layer.repeat is not None))
    return deepest + 1


def _uses(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Every layer that is a block, those inside sequences too."""
    stack = list(reversed(tuple(layers)))
    while stack:
        layer = stack.pop()
        if layer.block:
            yield layer
        stack.extend(reversed(layer.layers))


def _recursion(faults: Faults, blocks: Mapping[str, Block], trail: list[str], last: Layer) -> None:
    cycle = trail[trail.index(last.key) :]
    labels = []
    for user, used in itertools.pairwise(cycle):
        layer = next(layer for layer in _uses(blocks[user].layers) if layer.key == used)
        span = blocks[user].document.key_span(layer.fields)
        labels.append(Label(span, f"`{user}` uses `{used}`"))
    message = f"block `{last.key}` uses itself"
    if len(cycle) > 1:
        message += " by way of " + ", ".join(f"`{name}`" for name in cycle[1:][:4])
    faults.of(blocks[cycle[-1]].document).add(
        "block-recursion",
        last.fields,
        message,
        key=True,
        secondary=tuple(labels[:4]),
        help="`repeat:` puts a block one after the other",
    )


def _too_deep(faults: Faults, layers: tuple[Layer, ...], depths: Mapping[str, int]) -> None:
    deepest = max(layers, key=lambda layer: depth_of((layer,), depths))
    faults.add(
        "nesting-too-deep",
        deepest.fields,
        f"blocks, sequences and repeats are nested more than {MOST_SCOPES} deep",
        key=True,
    )
