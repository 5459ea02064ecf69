"""From probabilities to honest results: arrays in, values out."""
