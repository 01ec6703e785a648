"""Alpha that lies beside the pictures: streams of its own in HEIF and AVIF, and the layer of HEVC."""
