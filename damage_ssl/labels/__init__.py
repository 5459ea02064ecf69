"""Who said what of which building, and which building to ask about next."""
