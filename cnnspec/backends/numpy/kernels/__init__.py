"""NumPy kernels: the text an emitted NumPy network is made of."""
