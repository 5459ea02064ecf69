"""How well a building can be seen on both dates."""
