"""Sinks: frames encoded, muxed, verified and put in place."""
