"""The command line: options in, calls to the library out."""
