"""The taps of a PyTorch model: what `trace` sees of each node."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch

from cnnspec.backends.base import Emitted
from cnnspec.backends.program import FEED, PARTS, TAP, Executions, tapped


class Tapped:
    """The same text with taps: expressions wrapped in the tree, held modules hooked."""

    def __init__(
        self, emitted: Emitted, imports: Collection[str], make: Callable[[Any], torch.nn.Module]
    ) -> None:
        title = f"{emitted.entry} torch tapped"
        self.program = tapped(emitted.text, title, emitted.lines, imports)
        taps = {TAP: self._tap, FEED: self._feed, PARTS: self._parts}
        self.module = self.program.run(**taps)
        self.model = make(self.module)
        self.values: dict[str, torch.Tensor] = {}
        self.feed: dict[str, list[torch.Tensor]] | None = None
        self.perturb: Mapping[str, torch.Tensor] = {}
        self.overwrites = "inplace=True" in emitted.text
        self.executions = Executions(emitted.lines)
        self.paths = {id(module): path for path, module in self.model.named_modules()}
        for path in self.executions.modules():
            self._hook(path, self.model.get_submodule(path))

    def _hook(self, path: str, module: torch.nn.Module) -> None:
        def before(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            node = self.executions.node(path)
            return tuple(self._fed(node, i, value) for i, value in enumerate(given))

        def after(_: Any, __: Any, value: torch.Tensor) -> torch.Tensor:
            return self._tapped(self.executions.done(path), value)

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)

    def begin(
        self,
        feed: dict[str, list[torch.Tensor]] | None,
        perturb: Mapping[str, torch.Tensor],
    ) -> None:
        """Start a new pass."""
        self.values = {}
        self.perturb = perturb
        self.feed = feed
        self.executions.begin()
        for leaves in (feed or {}).values():
            for leaf in leaves:
                leaf.requires_grad_(True)

    def _tap(self, name: str, *shared: Any) -> torch.Tensor:
        *module, value = shared
        live = self.paths[id(module[0])] if module else ""
        return self._tapped(self.executions.done(live, name), value)

    def _feed(self, name: str, index: int, *shared: Any) -> torch.Tensor:
        *module, given = shared
        value: torch.Tensor = given
        if self.feed is None:
            return value
        live = self.paths[id(module[0])] if module else ""
        return self._fed(self.executions.node(live, name), index, value)

    def _parts(
        self, names: tuple[str, ...], module: Any, function: Any, x: Any, *args: Any, **more: Any
    ) -> list[torch.Tensor]:
        """What a function gives; each of its results is a node of its own."""
        live = "" if module is None else self.paths[id(module)]
        found = []
        for index, name in enumerate(names):
            parts = function(self._fed(self.executions.node(live, name), 0, x), *args, **more)
            found.append(self._tapped(self.executions.done(live, name), parts[index]))
        return found

    def _tapped(self, node: str | None, value: torch.Tensor) -> torch.Tensor:
        if node is None:
            return value
        if self.feed is not None and node not in self.feed:
            return value.detach()
        # A view, because an op that hands its input on unchanged shares a tensor with the node
        # before it, and would share its gradient too.
        factor = self.perturb.get(node)
        value = value.view(value.shape) if factor is None else torch.mul(value, factor)
        self.values[node] = value
        if self.feed is not None:
            return self._given(value.detach())
        if value.requires_grad:
            value.retain_grad()
        return self._given(value)

    def _fed(self, node: str | None, index: int, value: torch.Tensor) -> torch.Tensor:
        if self.feed is None or node not in self.feed:
            return value
        return self._given(self.feed[node][index])

    def _given(self, value: torch.Tensor) -> torch.Tensor:
        """What the text goes on with; it may overwrite that, and not what is kept."""
        return value.clone() if self.overwrites else value
