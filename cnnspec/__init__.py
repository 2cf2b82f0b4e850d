"""cnnspec: one spec of a convolutional network, compiled to NumPy, PyTorch and Keras, proven equal."""

from cnnspec.version import __version__

__all__ = ["__version__"]
