"""The STAC catalogue of events."""
