"""What places add to a model's scores: the neighbours of a building and a map of the labels. Arrays in, values out."""
