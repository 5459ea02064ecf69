"""Measurements of the whole product: what it reaches, how long it takes, how much memory it needs."""
