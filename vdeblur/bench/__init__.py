"""Benchmark: how fast each stage is alone, the network alone, and the whole way of a frame; with what it ran on."""
