"""Support: clips, doubles and fixtures that the tests share."""
