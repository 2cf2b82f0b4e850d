"""Which of thousands of mutants are planted: some of each operator, on layer after layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from cnnspec.check.samples import generator
from cnnspec.check.selftest.source import Mutant

Item = TypeVar("Item")


def in_turn(found: Mapping[str, Mapping[str, Sequence[Mutant]]], seed: int) -> Iterator[Mutant]:
    """All mutants: each back end in turn, of it each operator, of that a layer not yet seen.

    Args:
        found: back end -> operator -> mutants.
        seed: of what else is chosen.
    """
    rng = generator(seed, "self-test")
    left = {
        backend: {name: _shuffled(rng, each) for name, each in operators.items()}
        for backend, operators in found.items()
    }
    turns = {backend: _shuffled(rng, list(operators)) for backend, operators in left.items()}
    seen: Counter[str] = Counter()
    while any(turns.values()):
        for backend, names in turns.items():
            if not names:
                continue
            name = names.pop(0)
            waiting = left[backend][name]
            best = min(waiting, key=lambda m: (sum(seen[id] for id in m.nodes[:1]), m.line))
            waiting.remove(best)
            seen.update(best.nodes[:1])
            if waiting:
                names.append(name)
            yield best


def _shuffled(rng: np.random.Generator, items: Sequence[Item]) -> list[Item]:
    return [items[i] for i in rng.permutation(len(items))]
