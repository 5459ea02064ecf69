"""Who said what of which building: log, CSV, sampling, agreement, history."""
