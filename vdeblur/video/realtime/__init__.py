"""Cameras and streams in, raw pipes and JPEG out."""
