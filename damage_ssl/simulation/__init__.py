"""A synthetic event with known truth, for the demo, the tests and the measurement of intervals."""
