"""The snake activation, and NumPy files that run as programs, for cnnspec."""
