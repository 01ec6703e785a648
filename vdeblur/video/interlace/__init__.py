"""Interlaced video: found, paired, deinterlaced."""
