"""Which back end stands alone: what the others say to each other about the same tensor."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cnnspec.check.compare import Comparison


@dataclass(frozen=True, slots=True)
class Standing:
    """Who agrees with whom.

    Attributes:
        alone: the one that differs from all others, which agree among themselves; None where two
            answers are all there is, or where there is no such one.
        sentence: that in words; empty where two answers are all there is.
    """

    alone: str | None = None
    sentence: str = ""


def standing(found: Comparison, comparisons: Iterable[Comparison]) -> Standing:
    """Judge the answers for the tensor of one comparison by all comparisons of that tensor.

    Where all are held against one exact answer (float32, learning rates), two that agree with it
    agree with each other.
    """
    same = [c for c in comparisons if _tensor(c) == _tensor(found)]
    names = list(dict.fromkeys(name for c in same for name in c.backends))
    if len(names) < 3:
        return Standing()
    known = {frozenset(c.backends): c.agree for c in same}
    centre = names[0]

    def agree(a: str, b: str) -> bool:
        direct = known.get(frozenset((a, b)))
        if direct is not None:
            return direct
        return all(known.get(frozenset((centre, name)), False) for name in (a, b))

    for name in names:
        others = [other for other in names if other != name]
        if not any(agree(name, other) for other in others) and all(
            agree(a, b) for a, b in itertools.combinations(others, 2)
        ):
            return Standing(name, f"{name} stands alone: {_listed(others)} agree")
    camps = _camps(names, agree)
    if len(camps) == len(names):
        return Standing(None, f"no two of {_listed(names)} agree")
    if len(camps) == 1:  # agreement within a bound is not transitive
        return Standing(None, "none stands alone: each of them agrees with another one")
    sides = " against ".join(_listed(camp) for camp in camps)
    return Standing(None, f"none stands alone: {sides}")


def _tensor(c: Comparison) -> tuple[object, ...]:
    return (c.quantity, c.mode, c.dtype, c.training, c.node, c.name, c.update)


def _camps(names: list[str], agree: Callable[[str, str], bool]) -> list[list[str]]:
    """Those that agree, directly or through others."""
    camps: list[list[str]] = []
    for name in names:
        joined = [camp for camp in camps if any(agree(name, other) for other in camp)]
        camps = [camp for camp in camps if camp not in joined]
        camps.append([*itertools.chain(*joined), name])
    return sorted(camps, key=lambda camp: (-len(camp), names.index(camp[0])))


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
