"""Which stages follow which."""
