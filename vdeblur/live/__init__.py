"""Live restoration: capture, low-latency inference and display of sources that do not wait."""
