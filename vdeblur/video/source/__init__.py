"""Sources: located, opened, demuxed, decoded into frames."""
