"""How a simulated town looks from above, on both dates."""
