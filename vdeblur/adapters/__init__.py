"""Adapters: NumPy, torch, Pillow and PyAV pictures as frames and back."""
