"""Interlaced video: detection, field pairing and deinterlacing."""
