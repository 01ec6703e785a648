"""Sources whose clocks start again, break off or err."""
