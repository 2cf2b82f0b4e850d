"""What a class's constructor makes, as a tree per instance of the class.

An emitter writes one class for many instances of a block. For each instance the constructor of a
layer is known in full, with numbers in it; `unify` finds the one text that says the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cnnspec.backends.writer import Code


@dataclass(frozen=True, slots=True)
class Leaf:
    """The constructor of one layer or block instance.

    Attributes:
        code: with this instance's numbers.
        key: what its range in the text is noted under; None where nobody asks for it.
        hints: argument name -> expression over the parameters of the class.
    """

    code: Code
    key: str | None = None
    hints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chain:
    """Layers one after the other, named by position or by `names`."""

    items: tuple[Tree, ...]
    names: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """The instances of a repeated layer.

    Attributes:
        items: one for each instance.
        count: the expression of their number, None where it is a constant.
        named: the text of an f-string over `index` that names them, None for positions.
        key: what its range in the text is noted under.
    """

    items: tuple[Tree, ...]
    count: str | None = None
    named: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Maybe:
    """A layer under a `when:` expression; None where that is false."""

    tree: Tree | None
    when: str


Tree = Leaf | Chain | Loop | Maybe
