"""Names for annotations only: annotations are stripped from the text that is emitted."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Backward: TypeAlias = Callable[[Array], Array]
Forward: TypeAlias = tuple[Array, Backward]
Ints: TypeAlias = int | tuple[int, ...]
Pads: TypeAlias = int | tuple[int | tuple[int, int], ...]
Found: TypeAlias = tuple[tuple[Any, Any], Array]
