"""Picture files: metadata between containers, and a PNG encoder."""
