"""How a network begins: its frozen features standardised on the event, its head a logistic regression on the
labelled."""

import torch

from damage_ssl.learning.channels import POST, PRE
from damage_ssl.learning.embedding import embed, fit_head, standardise_on
from damage_ssl.learning.networks import Fusion, NetworkSpec, PairNetwork, build_network
from damage_ssl.learning.random_features import RandomFeatures, draw_filters
from damage_ssl.learning.sampling import distinct
from damage_ssl.learning.task import Task

STATISTICS_PAIRS = 1000
"""Pairs that mean and deviation of the features are taken from."""

FROZEN: dict[str, tuple[str, Fusion, bool]] = {
    "frozen-random-post": ("random-features", "post", False),
    "frozen-random": ("random-features", "siamese", False),
    "frozen-lite0": ("efficientnet-lite0", "siamese", True),
}
"""Algorithms that train nothing but the head: encoder, fusion and whether features are pooled over the footprint
too."""


def frozen_spec(task: Task) -> NetworkSpec:
    """The network of a frozen algorithm."""
    encoder, fusion, footprint_pool = FROZEN[task.settings.algorithm]
    input_px = int(task.pixels.shape[-1]) if encoder == "random-features" else task.settings.input_px
    return _spec(task, encoder, fusion, input_px, footprint_pool)


def trained_spec(task: Task) -> NetworkSpec:
    """The network that the settings ask for."""
    return _spec(task, task.settings.network, task.settings.fusion, task.settings.input_px, True)


def start_network(task: Task, spec: NetworkSpec, generator: torch.Generator) -> PairNetwork:
    """Build the network on the task's device; a pretrained one standardises its features and fits its head.

    A network from scratch keeps its features as they are: they will change too much for fixed statistics.
    """
    network = build_network(spec, generator).to(task.device)
    options = task.options.fit
    if isinstance(network.encoder, RandomFeatures):
        some = distinct(len(task.pixels), min(len(task.pixels), STATISTICS_PAIRS), generator)
        dates = [POST] if spec.fusion == "post" else [PRE, POST]
        network.encoder.set_filters(draw_filters(torch.cat([task.pixels[some][:, date] for date in dates]), generator))
    logistic = options.head_start == "logistic" or (options.head_start == "auto" and network.pretrained)
    if network.pretrained or logistic:
        some = distinct(len(task.pixels), min(len(task.pixels), STATISTICS_PAIRS), generator)
        standardise_on(network, embed(network, task.pixels[some]))
    if logistic:
        labelled = task.pixels[torch.from_numpy(task.rows.train_row)]
        turns = range(task.settings.prediction_rotations)
        features = torch.cat([embed(network, labelled, quarter_turns=turn) for turn in turns])
        classes = torch.from_numpy(task.rows.train_class).repeat(len(turns)).numpy()
        fit_head(network, features, classes, regularisation=options.probe_c)
    return network


def _spec(task: Task, encoder: str, fusion: Fusion, input_px: int, footprint_pool: bool) -> NetworkSpec:
    return NetworkSpec(
        network=encoder,
        fusion=fusion,
        channels=int(task.pixels.shape[1]),
        input_px=input_px,
        classes=len(task.scheme),
        footprint_pool=footprint_pool,
    )
