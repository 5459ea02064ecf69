"""One training from step to step."""
