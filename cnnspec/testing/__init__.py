"""For tests, ours and those of third parties: random networks, and laws of ops and back ends.

Importing this package imports hypothesis, which nothing else in cnnspec does.
"""

from __future__ import annotations

from cnnspec.testing import activation_strategies as activation_strategies
from cnnspec.testing import conv_strategies as conv_strategies
from cnnspec.testing import pool_norm_strategies as pool_norm_strategies
from cnnspec.testing import shape_strategies as shape_strategies
from cnnspec.testing.blocks import block_networks, block_specs
from cnnspec.testing.gradients import check_gradients
from cnnspec.testing.laws import check_backend, check_op
from cnnspec.testing.mutations import nearly_valid
from cnnspec.testing.networks import network_shapes, networks
from cnnspec.testing.strategies import INITIALIZERS, OPS, TRAINING, Strategies, fields

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
