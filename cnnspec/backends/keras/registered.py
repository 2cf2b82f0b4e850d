"""Classes that an emitted file registers with Keras, which outlive the file if nobody cares."""

from __future__ import annotations

from keras.src.saving import object_registration

from cnnspec.backends.program import Program


def close(program: Program) -> None:
    """Close a program, and have Keras forget its classes: through these it keeps a whole model."""
    names = object_registration.GLOBAL_CUSTOM_NAMES  # has no public name, as the other table has
    for cls in [cls for cls in names if cls.__module__ == program.name]:
        registered = names.pop(cls)
        objects = object_registration.GLOBAL_CUSTOM_OBJECTS
        if objects.get(registered) is cls:
            del objects[registered]
            # Another file of the same network has the same names for its own, and is still open.
            objects.update((name, other) for other, name in names.items() if name == registered)
    program.close()
