"""Code of the kernels, in the part of Python that Numba compiles; imported only to be compiled."""
