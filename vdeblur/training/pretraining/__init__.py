"""Pre-training of single parts of the network, before joint training."""
