"""Video: the only package that imports PyAV and runs FFmpeg; everything that reads or writes media."""
