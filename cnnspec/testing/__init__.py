"""For tests, ours and those of third parties: random networks, and laws of ops and back ends.

What names hypothesis is imported when it is asked for: `cnnspec fuzz` draws without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from cnnspec.testing import activation_strategies as activation_strategies
from cnnspec.testing import conv_strategies as conv_strategies
from cnnspec.testing import initializer_strategies as initializer_strategies
from cnnspec.testing import pool_norm_strategies as pool_norm_strategies
from cnnspec.testing import shape_strategies as shape_strategies
from cnnspec.testing.blocks import block_networks, block_specs
from cnnspec.testing.networks import network_shapes, networks
from cnnspec.testing.strategies import INITIALIZERS, OPS, TRAINING, Strategies, fields

if TYPE_CHECKING:
    from cnnspec.testing.gradients import check_gradients
    from cnnspec.testing.laws import check_backend, check_op
    from cnnspec.testing.mutations import nearly_valid

_HOMES = {
    "check_backend": "laws",
    "check_gradients": "gradients",
    "check_op": "laws",
    "nearly_valid": "mutations",
}

__all__ = [
    "INITIALIZERS",
    "OPS",
    "TRAINING",
    "Strategies",
    "block_networks",
    "block_specs",
    "check_backend",
    "check_gradients",
    "check_op",
    "fields",
    "nearly_valid",
    "network_shapes",
    "networks",
]


if not TYPE_CHECKING:  # a type checker would take any name at all for one of ours

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'cnnspec.testing' has no attribute {name!r}")
        value = getattr(import_module(f"cnnspec.testing.{home}"), name)
        globals()[name] = value
        return value
