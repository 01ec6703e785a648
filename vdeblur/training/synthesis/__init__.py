"""Blur synthesis: sub-frames of moving layers averaged over the exposure in linear light."""
