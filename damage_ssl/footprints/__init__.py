"""Building footprints: any polygon file in, clean polygons with stable ids out."""
