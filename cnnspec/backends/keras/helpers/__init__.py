"""Layers that emitted Keras files carry where no native layer means what the spec means.

The emitter reads these files as text; importing them needs Keras, and only tests do.
"""
