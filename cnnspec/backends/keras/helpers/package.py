"""The name under which Keras registers helper layers; an emitted file has its own."""

PACKAGE = "cnnspec"
