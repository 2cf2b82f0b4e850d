"""The PyTorch back end: an `nn.Module` as people write it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnspec.backends.base import Dtype, Emitted, Ranks, Session, Style
from cnnspec.backends.torch.emit import COLUMN, emit
from cnnspec.graph import Graph

if TYPE_CHECKING:
    from cnnspec.backends.case import Case

IMPORTS = frozenset({"hashlib", "math", "safetensors.torch", "torch", "torch.nn.functional"})
"""All that an emitted file may import."""


class TorchBackend:
    """PyTorch; imported when a session is opened, not before."""

    name = "torch"
    imports = IMPORTS
    column = COLUMN

    def emit(self, graph: Graph, style: Style = Style()) -> Emitted:
        """Write the network as an `nn.Module`."""
        return emit(graph, style)

    def open(
        self,
        emitted: Emitted,
        *,
        dtype: Dtype = "float64",
        device: str = "cpu",
        eager: bool = True,
        source: tuple[str, str | None] | None = None,
        drawn: bool = True,
    ) -> Session:
        """A session over this text, or over a file in its place."""
        from cnnspec.backends.torch.session import TorchSession

        return TorchSession(emitted, dtype=dtype, device=device, source=source, drawn=drawn)

    def join(self, device: str) -> Ranks:
        """Meet the other processes that torchrun has started."""
        from cnnspec.backends.torch.ranks import TorchRanks

        return TorchRanks(device)

    def script(self, case: Case, about: str, engine: str = "") -> str | None:
        """A few lines of plain PyTorch that show a fault of this back end's text."""
        from cnnspec.backends.torch.script import script

        return script(case, self.emit(case.graph, case.style), about)


BACKEND = TorchBackend()
