"""The map, the selected building and the queue."""
