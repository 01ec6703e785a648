"""TIFF: directories, pages and their samples, read within bounds; stacks of microscopes and scanners."""
