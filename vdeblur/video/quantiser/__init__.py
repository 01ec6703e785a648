"""Quantisers of coded pictures: how strongly each was compressed, as H.264 counts it."""
