"""An event on disk: STAC collection, area of interest, catalogue entry, imagery search, xBD import."""
