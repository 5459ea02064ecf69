"""What happened, where, seen by whom: scenes, footprints and their catalogue on disk."""
