"""Live: a source that does not wait, restored as it comes, with the least delay the machine allows."""
