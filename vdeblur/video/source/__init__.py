"""Sources: location, demuxing, decoding, timestamps and probing of the video that is read."""
