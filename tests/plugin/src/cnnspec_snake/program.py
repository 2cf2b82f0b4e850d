"""A back end: the NumPy file with a `main`, so that it maps a file of inputs to one of outputs."""

from __future__ import annotations

import dataclasses

from cnnspec.backends.base import Dtype, Emitted, Session, Style
from cnnspec.backends.columns import Column
from cnnspec.backends.numpy import BACKEND as NUMPY
from cnnspec.backends.writer import literal
from cnnspec.graph import Graph
from cnnspec.ops.merge import Maximum

COLUMN = Column("program", base=NUMPY.column)
COLUMN.unsupported(Maximum, "it is here to show a cell that says why not")

MAIN = '''

def main():
    """Map the inputs in one .npz file to the outputs in another, with the weights of a third."""
    import sys

    weights, source, target = sys.argv[1:]
    model = {entry}()
    model.load_weights(weights)
    given = np.load(source)
    outputs, _ = model.forward(*(given[name] for name in {inputs}), False)
    np.savez(target, **(outputs if isinstance(outputs, dict) else {{{output}: outputs}}))


if __name__ == "__main__":
    main()
'''


class ProgramBackend:
    """NumPy files that are programs: `python net.py weights.safetensors x.npz y.npz`."""

    name = "program"
    imports = NUMPY.imports | {"sys"}
    column = COLUMN

    def emit(self, graph: Graph, style: Style = Style()) -> Emitted:
        """Write the network; all that NumPy has written keeps its place, for traces."""
        COLUMN.require(graph)
        plain = NUMPY.emit(graph, style)
        names = tuple(name for name, _ in plain.inputs)
        main = MAIN.format(
            entry=plain.entry, inputs=literal(names), output=literal(plain.outputs[0])
        )
        return dataclasses.replace(plain, text=plain.text + main, backend=self.name)

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
        from cnnspec_snake.session import ProgramSession

        return ProgramSession(emitted, dtype=dtype, device=device, source=source, drawn=drawn)


BACKEND = ProgramBackend()
