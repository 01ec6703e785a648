"""Export: a network as a file for other programs, with what it remembers as inputs and outputs."""
