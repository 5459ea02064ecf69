"""Files that are handed over: one feature a footprint, with its provenance."""
