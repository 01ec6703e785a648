"""Plotting: a canvas with a stroke font, and line charts as PNG or SVG."""
