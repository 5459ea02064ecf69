"""Finding a policy of views for one event, on its own validation block, within a budget.

Density matching as in Lim et al. 2019 (Fast AutoAugment, arXiv:1905.00397), section 3.2: a classifier trained on
untouched pairs should still know the validation pairs after a policy has changed them; no network is trained anew.
Sub-policies are drawn at random instead of by Bayesian optimisation, and the classifier is a regression on frozen
features. Least change would often win, so a sub-policy must change the pixels by `LEAST_CHANGE` to be considered.
"""

import time
from collections.abc import Callable

import numpy as np
import torch

from damage_ssl.learning.augmentation.frozen_scorer import FrozenScorer, LabelledPairs, fit
from damage_ssl.learning.augmentation.operations import NAMES
from damage_ssl.learning.augmentation.policy import AugmentPolicy, PolicyStep, SubPolicy
from damage_ssl.learning.pair_tensor import FOOTPRINT, to_unit

STEPS = 2
KEPT = 10
LEAST_TRIALS = 4
LEAST_CHANGE = 0.02
"""Mean absolute change of a pixel's colour, 0 to 1."""

MOST_WEAK = 20
"""So many sub-policies in a row that change less: the pictures are such (nearly black), so one is considered anyway."""

SEARCHED = tuple(name for name in NAMES if name not in ("identity", "solarize"))


def find_policy(
    pairs: LabelledPairs,
    seconds: float,
    *,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AugmentPolicy:
    """The best `KEPT` of as many random sub-policies as `seconds` allow (the better half, where they are few).

    `LEAST_TRIALS` are tried in any case. `progress` hears the share of the time that is gone.
    """
    began = clock()
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    pairs = pairs.drawn(rng)
    scorer = FrozenScorer(pairs.train, generator)
    clean = fit(scorer.features(to_unit(pairs.train)), pairs.train_class)
    x, classes = to_unit(pairs.validation), pairs.validation_class

    def loss(views: torch.Tensor) -> float:
        losses = clean.losses(scorer.features(views), classes)
        return float(np.mean([losses[classes == each].mean() for each in np.unique(classes)]))

    untouched, tried, weak = loss(x), list[tuple[float, SubPolicy]](), 0
    while (gone := (clock() - began) / seconds) < 1.0 or len(tried) < LEAST_TRIALS:
        if progress is not None:
            progress(min(gone, 1.0))
        sub = draw_sub_policy(rng)
        views = AugmentPolicy((sub,)).apply(x, generator)
        changed = (views[:, : FOOTPRINT.start] - x[:, : FOOTPRINT.start]).abs().mean()
        if float(changed) < LEAST_CHANGE and weak < MOST_WEAK:
            weak += 1
            continue
        tried.append((loss(views), sub))
        weak = 0
    kept = sorted(tried, key=lambda each: each[0])[: min(KEPT, len(tried) // 2)]
    found = {
        "seconds": round(clock() - began, 1),
        "seed": seed,
        "tried": len(tried),
        "validation_buildings": len(classes),
        "loss_untouched": round(untouched, 4),
        "loss_kept": round(float(np.mean([each[0] for each in kept])), 4),
        "loss_tried": round(float(np.mean([each[0] for each in tried])), 4),
    }
    return AugmentPolicy(tuple(sub for _, sub in kept), found)


def draw_sub_policy(rng: np.random.Generator) -> SubPolicy:
    """`STEPS` different operations, each with a probability of 0.2 to 1 and a strength of 0.1 to 1."""
    return tuple(
        PolicyStep(
            operation=str(name),
            probability=round(float(rng.uniform(0.2, 1.0)), 2),
            strength=round(float(rng.uniform(0.1, 1.0)), 2),
        )
        for name in rng.choice(SEARCHED, STEPS, replace=False)
    )
