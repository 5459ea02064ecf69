"""Prior models: what damage looks like elsewhere, for an event that has no labels of its own yet."""
