"""Which names a spec may give, and why others are refused.

Names become attributes, state-dict keys and local variables of emitted source. They are never
renamed, so a name that would not survive there is a diagnostic.
"""

from __future__ import annotations

import keyword
import re

MOST_CHARACTERS = 64
PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")

MEANT = frozenset(("index", "count", "input"))
"""Names that a spec gives a meaning itself."""

MODULE_ATTRIBUTES = frozenset(
    # Public attributes of torch.nn.Module and nn.Sequential; a test holds this list against the
    # installed torch.
    """
    T_destination add_module append apply bfloat16 buffers call_super_init children compile cpu
    cuda double dump_patches eval extend extra_repr float forward get_buffer get_extra_state
    get_parameter get_submodule half insert ipu load_state_dict modules mtia named_buffers
    named_children named_modules named_parameters parameters pop register_backward_hook
    register_buffer register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
    set_submodule share_memory state_dict to to_empty train training type xpu zero_grad
    """.split()
)

EMITTED_ATTRIBUTES = frozenset(
    # Attributes of the classes that the back ends write.
    """
    accumulate astype at child frozen gradients index count input last layers load_state
    load_weights logits name_random_layers named_layers outputs_and_logits part predict
    save_weights self state statistics zero_gradients
    """.split()
)

RESERVED = MODULE_ATTRIBUTES | EMITTED_ATTRIBUTES


def fault(name: str, *, attribute: bool = True) -> str | None:
    """Why this name cannot be given, or None.

    Args:
        name: as written.
        attribute: whether it becomes an attribute of an emitted class, as names of layers do;
            those of inputs, outputs and networks do not.
    """
    if not PATTERN.fullmatch(name):
        if not name:
            return "a name is not empty"
        if len(name) > MOST_CHARACTERS:
            return f"a name has at most {MOST_CHARACTERS} characters"
        return "a name starts with a letter, and has only ASCII letters, digits and underscores"
    if keyword.iskeyword(name):
        return "it is a Python keyword"
    if name in MEANT:
        return "it has a meaning of its own in a spec"
    if attribute and name in RESERVED:
        return "emitted classes already have an attribute of this name"
    return None
