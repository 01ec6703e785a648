"""Engine: network, recurrent state and device restore frames."""
