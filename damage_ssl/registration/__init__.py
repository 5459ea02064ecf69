"""Shifts between footprints, pre and post imagery."""
