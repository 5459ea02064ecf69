"""Realistic evaluation of all learning methods on an event whose grades are known.

The protocol follows Oliver et al. 2018 (Realistic Evaluation of Deep Semi-Supervised Learning Algorithms,
arXiv:1804.09170): one implementation for all methods, baselines tuned with the same number of trials, varying amounts
of labelled and unlabelled data, unlabelled data of other classes, and validation sets of realistic size. Behind this
face: `material` (buildings, held-out blocks, who is drawn), `windows` (pairs without buildings), `search` (search
spaces), `plan` (which trainings), `running` (training them, resumable), `statistics`, `summary`, `plots` and `report`.
"""
