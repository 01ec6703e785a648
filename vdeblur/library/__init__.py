"""Library: iterables of pictures in, restored pictures out."""
