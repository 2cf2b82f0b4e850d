"""How the op's fields are drawn at random; imported by `cnnspec.testing` and by nothing else."""

from __future__ import annotations

from cnnspec.ops.base import Shape
from cnnspec.testing.strategies import OPS, Draw, Fields, initializers, one_of, some
from cnnspec_snake.op import Snake


@OPS(Snake)
def snake(draw: Draw, shape: Shape) -> Fields:
    """Every field now and then; what is not drawn has its default."""
    found: Fields = {}
    some(draw, found, scale=one_of(0.5, -1.5, 0), alpha_init=initializers(vector=True))
    return found
