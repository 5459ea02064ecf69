"""The last touch to a network whose training let the predicted class shares drift: intercepts that bring them back.

A squared error against guessed labels (MixMatch) is least where the guesses are all of one class, so with few labels
every building may come out as intact although the order of the buildings is right. Intercepts change no order between
two classes; they are set so that the labelled buildings are predicted in the shares they are known to have, classes
weighing equally, as in the batches that the training drew.
"""

import numpy as np
from numpy.typing import NDArray

MOST_ROUNDS = 500
TOLERANCE = 1e-6


def intercepts(probabilities: NDArray[np.float64], classes: NDArray[np.integer]) -> NDArray[np.float64]:
    """What to add to the logits [C] so that mean predictions are balanced like the labels; 0 for classes without any.

    Args:
        probabilities: of the labelled buildings [n, C], rows sum to 1.
        classes: theirs [n]; each class that occurs weighs the same, whatever its count.
    """
    counts = np.bincount(classes, minlength=probabilities.shape[1])
    present = np.flatnonzero(counts)
    weight = 1 / (len(present) * counts[classes])  # [n]
    logits = np.log(np.clip(probabilities, 1e-12, 1.0))
    found = np.zeros(probabilities.shape[1])
    for _ in range(MOST_ROUNDS):  # iterative proportional fitting
        powers = np.exp(logits + found - (logits + found).max(axis=1, keepdims=True))
        shares = weight @ (powers / powers.sum(axis=1, keepdims=True))  # [C]
        step = np.log(shares[present].sum() / len(present) / np.maximum(shares[present], 1e-12))
        found[present] += step
        if np.abs(step).max() < TOLERANCE:
            break
    return found
