"""The column that torch's cells register in."""

from cnnspec.backends.columns import Column

COLUMN = Column("torch")
