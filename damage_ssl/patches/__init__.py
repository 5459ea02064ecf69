"""Pre/post pairs of buildings and their store."""
