"""What the screen shows, read from disk and cached."""
