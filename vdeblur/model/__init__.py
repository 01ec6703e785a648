"""The network: blocks, ConvGRU, the steered deblurring network and its checkpoints."""
