"""Whether what a back end draws for its initial weights is distributed as the spec says.

Each test fails with a probability below `CHANCE` for a right initializer: the bounds of sums are
Chernoff's and Bernstein's, of normal squares those of Laurent and Massart (2000, lemma 1), and of
extremes exact. Many small draws are put together, as the variance of few numbers says nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cnnspec.check.compare import compare
from cnnspec.check.pieces import magnitude, pieces
from cnnspec.graph import Graph
from cnnspec.ops import initializer as kinds
from cnnspec.ops.base import Param

if TYPE_CHECKING:
    from cnnspec.check.run import Checker

Array = npt.NDArray[Any]

CHANCE = 1e-10
"""Of a false alarm, in each test."""
SINGLE = 2.0**-22
"""Relative: frameworks draw in float32 even for a model in float64."""
ENOUGH = 1500
"""Numbers that tell a normal distribution from a uniform one of the same variance."""
UNIFORM = (kinds.HeUniform, kinds.GlorotUniform, kinds.LecunUniform, kinds.TorchDefault)
NORMAL = NormalDist()
WITHIN = math.erf(math.sqrt(2.0))
"""Of a normal distribution, within two standard deviations."""
MOST_DRAWS, MOST_NODES = 16, 200
"""Models that are made to draw from, and layers in all of them: making them takes time."""


@dataclass(slots=True)
class Moments:
    """What is kept of numbers drawn: of their distances from where they should be centred.

    Attributes:
        count: of numbers.
        largest: distance.
        total: sum of signed distances.
        squares: sum of squared ones.
        skewed: of orthogonal matrices, the largest element of W W^T - gain^2 I.
    """

    count: int = 0
    largest: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    skewed: float = 0.0

    def add(self, value: Array, init: kinds.Initializer) -> None:
        """One more draw of a parameter, in its canonical layout."""
        center = _center(init)
        for (piece,) in pieces(np.asarray(value)):
            distances = piece.astype(np.float64) - center
            self.count += distances.size
            found = magnitude(distances)
            # A NaN is a largest distance, too.
            self.largest = found if not found <= self.largest else self.largest
            self.total += float(distances.sum())
            self.squares += float(np.square(distances).sum())
        if isinstance(init, kinds.Orthogonal):
            rows = np.asarray(value, np.float64).reshape(len(value), -1)
            rows = rows if rows.shape[0] <= rows.shape[1] else rows.T
            product = rows @ rows.T
            product[np.diag_indices(len(product))] -= init.gain**2
            found = magnitude(product)
            self.skewed = found if not found <= self.skewed else self.skewed


@dataclass(frozen=True, slots=True)
class Statistic:
    """What a statistic is, and between what it has to be."""

    name: str
    found: float
    low: float
    high: float

    @property
    def nearest(self) -> float:
        """The right value that is nearest to the found one."""
        return min(max(self.found, self.low), self.high)


def options(graph: Graph, seed: int) -> dict[str, Any]:
    """Arguments of `moments` for a network."""
    inits = {name: param.init for name, param in graph.params().items()}
    return {"inits": inits, "seed": seed, "count": draws(graph)}


def draws(graph: Graph) -> int:
    """How many models to draw from, so that small parameters have numbers enough."""
    sizes = [p.size for p in graph.params().values() if not _constant(p.init)]
    if not sizes:
        return 1
    most = min(MOST_DRAWS, max(1, MOST_NODES // len(graph.nodes)))
    return min(most, math.ceil(ENOUGH / min(sizes)))


def moments(
    session: Any,
    inits: Mapping[str, kinds.Initializer],
    seed: int,
    count: int,
    *,
    own: bool = False,
) -> dict[str, Moments]:
    """What a session's new models draw, by canonical name.

    Args:
        session: of any back end.
        inits: the initializer of every parameter.
        seed: of the first of them.
        count: of models.
        own: take what the session's own model has drawn, which has not been assigned yet.
    """
    found = {name: Moments() for name in inits}
    for draw in range(count):
        drawn = session.weights(copy=False) if own else session.draw(seed + draw)
        for name, init in inits.items():
            found[name].add(drawn[name], init)
    return found


def statistics(param: Param, found: Moments) -> Iterator[Statistic]:
    """What holds of numbers that a parameter's initializer has drawn."""
    init, n = param.init, found.count
    if _constant(init):
        slack = SINGLE * abs(_center(init))
        yield Statistic("largest distance from the constant", found.largest, 0.0, slack)
        return
    if isinstance(init, kinds.Orthogonal):
        rows = min(param.shape[0], param.size // param.shape[0])
        slack = 32 * SINGLE * init.gain**2 * math.sqrt(rows)
        yield Statistic("largest element of W W^T - gain^2 I", found.skewed, 0.0, slack)
        return
    law = _law(param)
    low, high = law.extremes(n)
    yield Statistic("largest distance from the mean", found.largest, low, high * (1 + SINGLE))
    slack = law.std * math.sqrt(2 * math.log(2 / CHANCE) / n)  # Chernoff's, as all are sub-Gaussian
    mean = found.total / n
    yield Statistic("distance from the mean, on average", mean, -slack, slack)
    low, high = law.squares(n)
    scale = law.std**2
    yield Statistic("variance", found.squares / n, low * scale, high * scale)


def judge(checker: Checker, found: Mapping[str, Mapping[str, Moments]]) -> None:
    """Compare what back ends draw with what the spec says; by back end and parameter."""
    owners = checker.graph.owners()
    for backend, by_name in found.items():
        for name, param in checker.graph.params().items():
            tried = list(statistics(param, by_name[name]))
            compared = compare(
                np.array([test.nearest for test in tried]),
                np.array([test.found for test in tried]),
                0.0,
                backends=("spec", backend),
                quantity="initializer",
                mode="initial",
                dtype=next(iter(checker.sessions.get(backend, ())), "float64"),
                training=False,
                node=owners[name],
                name=name,
            )
            if not compared.agree:
                assert compared.worst is not None
                test = tried[compared.worst.index[0]]
                reason = (
                    f"{test.name}: {test.found:.6g}, and {test.low:.6g} to {test.high:.6g} is "
                    f"right for {by_name[name].count:,} numbers of `{param.init.key}`"
                )
                compared = dataclasses.replace(compared, reason=reason)
            checker.report.comparisons.append(compared)


def _constant(init: kinds.Initializer) -> bool:
    return isinstance(init, (kinds.Zeros, kinds.Ones, kinds.Constant))


def _center(init: kinds.Initializer) -> float:
    match init:
        case kinds.Ones():
            return 1.0
        case kinds.Constant(value=value):
            return value
        case kinds.Normal(mean=mean) | kinds.TruncatedNormal(mean=mean):
            return mean
        case kinds.Uniform(low=low, high=high):
            return (low + high) / 2
    return 0.0


@dataclass(frozen=True, slots=True)
class _Law:
    """A distribution around its centre: normal, or cut off, or uniform.

    Attributes:
        std: standard deviation.
        limit: largest distance, infinite of a normal one.
        truncated: whether it is a normal one, cut at two standard deviations of what it was.
    """

    std: float
    limit: float = math.inf
    truncated: bool = False

    def extremes(self, n: int) -> tuple[float, float]:
        """Between what the largest distance of n lies."""
        # F(a)^n is the probability that none of them is beyond a.
        few = math.exp(math.log(CHANCE) / n)
        if self.truncated:
            return self.limit / 2 * -NORMAL.inv_cdf((1 - few * WITHIN) / 2), self.limit
        if self.limit < math.inf:
            return self.limit * few, self.limit
        beyond = -math.expm1(math.log1p(-CHANCE) / n)
        return -self.std * NORMAL.inv_cdf((1 - few) / 2), -self.std * NORMAL.inv_cdf(beyond / 2)

    def squares(self, n: int) -> tuple[float, float]:
        """Between what the mean square of n lies, over the variance."""
        term = math.log(2 / CHANCE) / n
        if self.limit == math.inf:
            return 1 - 2 * math.sqrt(term), 1 + 2 * math.sqrt(term) + 2 * term
        most = (self.limit / self.std) ** 2
        third = term * max(most - 1, 1.0) / 3
        slack = third + math.sqrt(third**2 + 2 * term * (self._fourth() - 1))
        return 1 - slack, 1 + slack

    def _fourth(self) -> float:
        """The mean fourth power over the squared variance."""
        if not self.truncated:
            return 9 / 5
        variance = kinds.TRUNCATION**2
        edge = 16 * NORMAL.pdf(2.0) / WITHIN  # what is left of integrating by parts
        return (3 * variance - edge) / variance**2


def _law(param: Param) -> _Law:
    init = param.init
    match init:
        case kinds.Normal(std=std):
            return _Law(std)
        case kinds.TruncatedNormal(std=std):
            return _Law(std * kinds.TRUNCATION, 2 * std, truncated=True)
        case kinds.Uniform(low=low, high=high):
            return _Law((high - low) / math.sqrt(12), (high - low) / 2)
    assert isinstance(init, kinds.Scaled)
    std = init.std(param.fan_in, param.fan_out)
    if getattr(init, "truncated", False):
        return _Law(std, 2 * std / kinds.TRUNCATION, truncated=True)
    if isinstance(init, UNIFORM):
        return _Law(std, init.limit(param.fan_in, param.fan_out))
    return _Law(std)
