"""Networks: optical flow, taps along the motion, ConvGRU, refiners, registry and checkpoints."""
