"""Command line (click). Heavy modules are imported only once the arguments have been validated."""
