"""Everything that is drawn of a network with its weights, for one sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from cnnspec.backends.base import Backend, Dtype, Session
from cnnspec.data.dataset import Array
from cnnspec.evaluate.answers import Kind, kind_of, probabilities, ranked
from cnnspec.evaluate.model import opened
from cnnspec.graph import Graph, Node, Output
from cnnspec.images.sample import Sample
from cnnspec.inspect.attribution import choose_class, classified, occlusion, saliency
from cnnspec.inspect.attribution_sheets import input_sheet, occlusion_sheet, saliency_sheet
from cnnspec.inspect.drawing import Sheet, require_drawing
from cnnspec.inspect.layers import select
from cnnspec.inspect.maps import feature_maps, filters
from cnnspec.ops.base import Op, show
from cnnspec.passes.rebuild import logits

__all__ = ["Features", "Options", "Picture", "features"]

TOP = 5


@dataclass(frozen=True, slots=True)
class Options:
    """What is drawn.

    Attributes:
        layers: see `select`.
        wanted: name or number of the class that is explained; None for the likeliest.
        most: channels, or filters, that are drawn of a layer at most.
        saliency: whether gradients with respect to the input are drawn.
        occlusion: whether parts of the input are covered.
        patch: positions of a patch along each axis.
        stride: positions from one patch to the next.
    """

    layers: str | None = None
    wanted: str | None = None
    most: int = 64
    saliency: bool = True
    occlusion: bool = True
    patch: int | None = None
    stride: int | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A sheet, the layer that it is of (empty for the input and the attributions), and its file."""

    layer: str
    sheet: Sheet
    file: str


@dataclass(frozen=True, slots=True)
class Features:
    """All of it.

    Attributes:
        network: its name.
        backend: that has computed it.
        sample: the name of the sample.
        notes: what was done to the sample, and what is not shown.
        answers: the likeliest classes: name, and probability or value.
        measured: what the numbers of the answers are.
        layers: the layers that are shown: full name, op, shape of the output.
        pictures: in order.
    """

    network: str
    backend: str
    sample: str
    notes: tuple[str, ...]
    answers: tuple[tuple[str, float], ...]
    measured: str
    layers: tuple[tuple[str, str, str], ...]
    pictures: tuple[Picture, ...]


def features(
    graph: Graph,
    backend: str | Backend,
    weights: Mapping[str, Array],
    sample: Sample,
    *,
    options: Options = Options(),
    classes: tuple[str, ...] = (),
    dtype: Dtype = "float64",
    device: str = "cpu",
    told: Callable[[str], None] = lambda text: None,
) -> Features:
    """Draw filters, feature maps and attributions; values are traced through the compiled text.

    Args:
        graph: the network.
        backend: that computes.
        weights: by canonical name.
        sample: what the network is shown.
        options: what is drawn.
        classes: names of the classes.
        dtype: of all arithmetic.
        device: as the framework calls it.
        told: is given a line for each part that takes a while.

    Raises:
        SetupError: matplotlib or a framework is missing, or a layer or class is unknown.
        SpecError: the back end cannot express the network.
    """
    require_drawing()
    nodes, note = select(graph, options.layers)
    output = classified(graph)
    kind = kind_of(graph, output)
    names = classes if len(classes) == output.value.shape[0] else ()
    drawn: list[tuple[str, str, Sheet]] = [
        ("", f"input_{name}", input_sheet(name, value[0])) for name, value in sample.inputs.items()
    ]
    with opened(graph, backend, weights, dtype=dtype, device=device) as session:
        told("tracing the layers")
        trace = session.trace(sample.inputs)
        answer = probabilities(kind, trace.outputs[output.name])[0]
        number = choose_class(options.wanted, answer, names)
        shown = [(names[k] if names else str(k), float(answer[k])) for k in ranked(answer, TOP)]
        named = f"class {number}"
        if names and names[number] != str(number):
            named += f" ({names[number]})"
        if options.occlusion:
            drawn += _occlusions(session, graph, output, kind, sample, number, named, options, told)
    if options.saliency:
        told("saliency")
        saliencies = _saliencies(
            graph, output, backend, weights, sample, number, named, dtype, device
        )
        drawn[len(sample.inputs) : len(sample.inputs)] = saliencies
    for node in nodes:
        told(node.id)
        drawn += _layer(node, weights, trace.values[node.id][0], options, output, names)
    pictures = tuple(
        Picture(layer, sheet, f"{place:03}_{stem}.png")
        for place, (layer, stem, sheet) in enumerate(drawn)
    )
    return Features(
        network=graph.name,
        backend=session_name(backend),
        sample=sample.name,
        notes=(*sample.notes, *([note] if note else [])),
        answers=tuple(shown),
        measured="value" if kind == "values" else "probability",
        layers=tuple((node.id, node.op.key, show(node.shape)) for node in nodes),
        pictures=pictures,
    )


def session_name(backend: str | Backend) -> str:
    """What to call a back end."""
    return backend if isinstance(backend, str) else backend.name


def _saliencies(
    graph: Graph,
    output: Output,
    backend: str | Backend,
    weights: Mapping[str, Array],
    sample: Sample,
    number: int,
    named: str,
    dtype: Dtype,
    device: str,
) -> list[tuple[str, str, Sheet]]:
    bare = logits(graph, output.name)
    with opened(bare, backend, weights, dtype=dtype, device=device) as session:
        found = saliency(
            session,
            sample.inputs,
            output.name,
            number,
            logit=bare is not graph or kind_of(graph, output) == "logits",
        )
    return [
        ("", f"saliency_{name}", saliency_sheet(name, value[0], found, named))
        for name, value in sample.inputs.items()
    ]


def _occlusions(
    session: Session,
    graph: Graph,
    output: Output,
    kind: Kind,
    sample: Sample,
    number: int,
    named: str,
    options: Options,
    told: Callable[[str], None],
) -> Iterator[tuple[str, str, Sheet]]:
    def measure(inputs: Mapping[str, Array]) -> Array:
        return probabilities(kind, session.forward(inputs)[output.name])

    found = occlusion(
        measure,
        sample.inputs,
        number,
        probability=kind != "values",
        patch=options.patch,
        stride=options.stride,
        told=lambda done, total: told(f"occlusion, {done} of {total} passes"),
    )
    for name, value in sample.inputs.items():
        yield "", f"occlusion_{name}", occlusion_sheet(name, value[0], found, named)


def _layer(
    node: Node[Op],
    weights: Mapping[str, Array],
    value: Array,
    options: Options,
    output: Output,
    names: tuple[str, ...],
) -> Iterator[tuple[str, str, Sheet]]:
    # A name is a path and may be as long as the file system does not allow.
    stem = node.id[-100:]
    for param in node.params:
        stored = weights[f"{node.weights_id}.{param.name}"]
        sheet = filters(node, param, stored, most=options.most)
        if sheet is not None:
            yield node.id, f"{stem}_{param.name}", sheet
    named = names if value.shape == output.value.shape[:1] == (len(names),) else ()
    yield node.id, f"{stem}_maps", feature_maps(node, value, most=options.most, names=named)
