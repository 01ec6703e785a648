"""Benchmark: throughput of each stage, of the network alone and end to end, with a description of the machine."""
