"""Tables on the console."""
