"""A registry of mutation operators: what may go wrong in emitted text, family by family."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cnnspec.check.selftest.source import Mutant, Source

Operator = Callable[[Source], Iterator[Mutant]]

OPERATORS: dict[str, Operator] = {}


def operator(name: str) -> Callable[[Operator], Operator]:
    """Decorator: a function that yields every mutant of one kind that a text allows."""

    def register(function: Operator) -> Operator:
        if name in OPERATORS:
            raise ValueError(f"two operators are called {name!r}")
        OPERATORS[name] = function
        return function

    return register


def mutants(source: Source) -> dict[str, list[Mutant]]:
    """Every mutant of a text, by operator; operators that do not apply are left out."""
    from cnnspec.check.selftest import arguments, arithmetic, modes, training, wires

    assert all((arithmetic, arguments, modes, training, wires))  # they register themselves
    found = {name: list(apply(source)) for name, apply in OPERATORS.items()}
    return {name: each for name, each in found.items() if each}
