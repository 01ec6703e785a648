"""Pipeline: source, engine and sink as one job."""
