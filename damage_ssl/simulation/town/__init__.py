"""What stands in a simulated town, and what the hazard does to it."""
