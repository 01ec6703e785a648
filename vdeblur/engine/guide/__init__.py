"""Guide: the picture under noise and coding artefacts, as the engine makes and uses it."""
