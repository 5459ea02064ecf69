"""Realistic evaluation of all learning methods on an event whose grades are known.

The protocol follows Oliver et al. 2018 (Realistic Evaluation of Deep Semi-Supervised Learning Algorithms,
arXiv:1804.09170): one implementation for all methods, baselines tuned with the same number of trials, varying amounts
of labelled and unlabelled data, unlabelled data of other classes, and validation sets of realistic size. In order:
`division` (buildings, held-out blocks, who is drawn), `background_pairs` (pairs without buildings), `random_search`,
`plan` (which trainings), `bench` (training them, resumable), `statistics`, `findings`, `plots` and `report`.
"""
