"""From probabilities to honest results: prediction, calibration, metrics."""
