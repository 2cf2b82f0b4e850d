"""The column that Keras' cells register in."""

from cnnspec.backends.columns import Column

COLUMN = Column("keras")
