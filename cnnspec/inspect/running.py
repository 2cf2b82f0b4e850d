"""The `features` command: what the command line asks for, and the files that it gets."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

from cnnspec import data as sources
from cnnspec import document, files
from cnnspec.backends.base import Dtype
from cnnspec.build import build
from cnnspec.evaluate.described import class_names, described, scaling_of
from cnnspec.evaluate.model import trained_weights
from cnnspec.images.sample import Scaling, assemble
from cnnspec.images.stored import stored_sample
from cnnspec.inspect.drawing import require_drawing
from cnnspec.inspect.page import page
from cnnspec.inspect.sheets import Options, features
from cnnspec.parameters import written
from cnnspec.render import clean
from cnnspec.schema import read_spec
from cnnspec.train.rundir import refuse_used

__all__ = ["command"]

OURS = re.compile(r"\d{3}_.*\.png")


def command(
    spec: str,
    *,
    weights: str,
    best: bool,
    images: Sequence[str],
    sample: int | None,
    data: str | None,
    resize: bool,
    scaling: Scaling | None,
    invert: bool,
    backend: str,
    dtype: Dtype,
    device: str,
    directory: str,
    options: Options,
    force: bool,
    say: Callable[[str], None],
    told: Callable[[str], None],
    parameters: Sequence[str] = (),
) -> int:
    """Write sheets as PNG files, and index.html with all of them in it.

    Args:
        spec: the file.
        weights: a safetensors file or a run directory.
        best: of a run directory the best weights.
        images: files of the sample, see `images.assemble`.
        sample: instead of these the number of a sample in the test set of `data`.
        data: name of a source, which also names the classes.
        resize: whether pictures of another size are resized.
        scaling: of pixels; None for that of the spec's data section.
        invert: whether 1 - p is taken of each pixel p.
        backend: name of the back end.
        dtype: of all arithmetic.
        device: as the framework calls it.
        directory: for the files.
        options: what is drawn.
        force: whether the directory may have files in it.
        say: prints a remark.
        told: is given what is being done.
        parameters: of the spec, each `name=value`.

    Returns:
        The exit status, 0.

    Raises:
        UserError: see `features`.
    """
    refuse_used(directory, force=force)
    require_drawing()
    graph = build(read_spec(document.read(spec), written(parameters))).graph
    run = described(weights)
    if sample is None:
        entry = graph.inputs[0]
        if scaling is None:
            scaling = scaling_of(graph, entry.name, entry.shape[0], run)
        shown = assemble(images, graph, resize=resize, scaling=scaling.inverted(invert))
        classes = class_names(graph, data, run)
    else:
        source = sources.given(data, graph, statistics=run.statistics or None)
        shown = stored_sample(source, sample, graph)
        classes = source.classes
    values = trained_weights(weights, graph, best=best)
    found = features(
        graph,
        backend,
        values,
        shown,
        options=options,
        classes=classes,
        dtype=dtype,
        device=device,
        told=told,
    )
    files.make_directory(directory)
    for name in os.listdir(directory):
        if OURS.fullmatch(name):  # of a run before, with other layers
            os.unlink(os.path.join(directory, name))
    for picture in found.pictures:
        files.write_bytes(os.path.join(directory, picture.file), picture.sheet.png, force=True)
    index = os.path.join(directory, "index.html")
    files.write_text(index, page(found), force=True)
    for note in found.notes:
        say(f"note: {clean(note)}")
    say(f"wrote {clean(index)} and {len(found.pictures)} pictures")
    return 0
