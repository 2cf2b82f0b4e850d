"""The structural difference of two networks: `diff` for Python, `render_diff` for people.

Compared is the network and not its text: blocks, includes, defaults and the order of keys make no
difference where they make the same layers.
"""

from cnnspec.diff.compare import diff
from cnnspec.diff.model import Change, Diff, LayerDiff, ScopeDiff
from cnnspec.diff.text import render_diff

__all__ = ["Change", "Diff", "LayerDiff", "ScopeDiff", "diff", "render_diff"]
