"""The networks of a seed: one for each number, the same on every machine and in any order."""

from __future__ import annotations

from typing import Any

from cnnspec.diagnostics import Diagnostic, SetupError, did_you_mean
from cnnspec.fuzz.options import FuzzOptions
from cnnspec.ops import lookup
from cnnspec.ops.base import Op, registered
from cnnspec.ops.slicing import Split
from cnnspec.testing.blocks import draw_block_spec
from cnnspec.testing.choices import Rejected, Seeded
from cnnspec.testing.networks import Spec, draw_spec, text_of
from cnnspec.testing.strategies import OPS

ATTEMPTS = 200
"""Before a network is given up; most are there at the first."""

MOST_LAYERS = 6
BLOCK_LAYERS = 2


def network(options: FuzzOptions, index: int) -> str:
    """The text of a valid spec.

    Args:
        options: seed, ops, and number of nodes.
        index: which of the seed's networks.

    Raises:
        SetupError: ops that are unknown, or that no network of this many nodes was found for.
    """
    having = ops(options.ops)
    for attempt in range(ATTEMPTS):
        draw = Seeded(f"{options.seed} {index} {attempt}")
        try:
            return text_of(_drawn(draw, having, options.most_nodes))
        except Rejected:
            continue
    raise SetupError(
        Diagnostic(
            "nothing-drawn",
            f"no network of at most {options.most_nodes} layers "
            + (f"with {', '.join(f'`{key}`' for key in options.ops)} " if options.ops else "")
            + f"was found in {ATTEMPTS} attempts",
            help="give `--max-nodes` more room, or `--ops` fewer names",
        )
    )


def _drawn(draw: Seeded, having: tuple[type[Op], ...], most: int) -> Spec:
    """Mostly layers of all kinds; every fourth network is about blocks."""
    if not having and most > 1 and draw.below(4) == 3:
        return draw_block_spec(draw, layers=BLOCK_LAYERS, most_nodes=most)
    train = draw.below(4) > 0
    spec = draw_spec(draw, having=having, layers=min(MOST_LAYERS, most), train=train or None)
    if _count(spec["layers"]) > most:
        raise Rejected
    return spec


def _count(layers: list[Any]) -> int:
    """The nodes of a spec without blocks."""
    count = 0
    for layer in layers:
        (key, fields), *_ = layer.items() if isinstance(layer, dict) else ((layer, {}),)
        if key == Split.key:  # a node for each part
            count += fields["into"] if "into" in fields else len(fields["sizes"])
        else:
            count += _count(fields["layers"]) if "layers" in fields else 1
    return count


def ops(keys: tuple[str, ...]) -> tuple[type[Op], ...]:
    """The classes of these ops.

    Raises:
        SetupError: there is none of this name, or nobody says how its fields are drawn.
    """
    found, faults = [], []
    known = [op.key for op in registered() if op in OPS]
    for key in keys:
        op = lookup(key)
        if op is None or op not in OPS:
            faults.append(
                Diagnostic(
                    "unknown-op",
                    f"there is no op `{key}`"
                    if op is None
                    else f"nothing says how fields of `{key}` are drawn",
                    help=did_you_mean(key, known),
                )
            )
        else:
            found.append(op)
    if faults:
        raise SetupError(faults)
    return tuple(found)
