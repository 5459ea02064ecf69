"""From a few labels and many unlabelled pairs to class probabilities."""
