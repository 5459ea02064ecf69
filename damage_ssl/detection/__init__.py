"""Buildings from the pre image alone, for events without footprints."""
