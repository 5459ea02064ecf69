"""How a network begins: its frozen features standardised on the event, its head a logistic regression on the
labelled."""

from pathlib import Path

import torch
from torch import Tensor

from damage_ssl.errors import SettingsError
from damage_ssl.learning.features.embedding import embed, fit_head, standardise_on
from damage_ssl.learning.networks.encoders import encoder_of, is_pretrained
from damage_ssl.learning.networks.fusion import IMAGES
from damage_ssl.learning.networks.pair_network import FROZEN, InitialNetwork, NetworkSpec, PairNetwork, build_network
from damage_ssl.learning.networks.random_features import draw_filters
from damage_ssl.learning.networks.weights import EncoderWeights, load_from_hub, load_weights, read_weights
from damage_ssl.learning.pair_tensor import VIEW_CHANNELS
from damage_ssl.learning.settings import FitOptions
from damage_ssl.learning.trainer.data import Task, distinct

STATISTICS_PAIRS = 1000
"""Pairs that mean and deviation of the features are taken from."""


def network_spec(task: Task) -> NetworkSpec:
    """The network that the settings ask for.

    Frozen Lite0 features take the settings' network instead where weights for it are given.

    Raises:
        SettingsError: options that do not go together.
        InputError: the file of weights cannot be read.
    """
    settings, options = task.settings, task.options.network
    chosen = FROZEN.get(settings.algorithm)
    if chosen is None:
        encoder = encoder_of(settings.network)
        texture = is_pretrained(encoder) or options.given_start
        chosen = InitialNetwork(encoder=encoder, fusion=settings.fusion, texture=texture)
    elif options.given_start and chosen.encoder != "random-features":
        chosen = InitialNetwork(encoder=encoder_of(settings.network), fusion=chosen.fusion, texture=chosen.texture)
    plain = chosen.encoder == "random-features"
    channels = int(task.pixels.shape[1])
    if options.closeup and channels > VIEW_CHANNELS:
        raise SettingsError(
            f"{task.folder.name}: training: the option closeup is for patches without a context view, and these have "
            "one, which is used; leave the option out"
        )
    if options.head != "linear" and task.options.imbalance.imbalance != "none":
        raise SettingsError(
            f"{task.folder.name}: training: imbalance '{task.options.imbalance.imbalance}' needs a linear head; leave "
            f"out head '{options.head}' or imbalance"
        )
    weights = _weights(task)
    return NetworkSpec(
        network=chosen.encoder,
        fusion=chosen.fusion,
        channels=channels,
        input_px=int(task.pixels.shape[-1]) if plain else settings.input_px,
        classes=len(task.scheme),
        footprint_pool=not plain,
        texture_filters=task.options.fit.texture_filters if chosen.texture else 0,
        head=options.head,
        norm="frozen" if options.init == "hub" else "group" if weights is None else weights.norm,
        closeup=options.closeup,
    )


def _weights(task: Task) -> EncoderWeights | None:
    path = task.options.network.weights
    return read_weights(Path(path)) if path else None


def built_network(task: Task, generator: torch.Generator, spec: NetworkSpec | None = None) -> PairNetwork:
    """The network of the settings (or of `spec`) on the task's device, with the weights that were asked for.

    Raises:
        SettingsError: the weights are of another encoder. DamageSSLError: the hub cannot be reached.
    """
    network = build_network(spec or network_spec(task), generator)
    if (weights := _weights(task)) is not None:
        load_weights(network.encoder, network.spec.network, weights)
    elif task.options.network.init == "hub":
        load_from_hub(network.encoder, network.spec.network)
    return network.to(task.device)


def initialised_network(task: Task, generator: torch.Generator) -> PairNetwork:
    """Build the network on the task's device; a pretrained one standardises its features and fits its head.

    A network from scratch keeps its features as they are: they will change too much for fixed statistics.
    """
    network = built_network(task, generator)
    options = task.options.fit
    draw_texture(task, network, generator)
    logistic = starts_at_regression(network, options)
    if network.pretrained or logistic:
        standardise_on(network, embed(network, some_pixels(task, generator)))
    if logistic:
        labelled = task.pixels[torch.from_numpy(task.rows.train_row)]
        turns = range(task.settings.prediction_rotations)
        features = torch.cat([embed(network, labelled, quarter_turns=turn) for turn in turns])
        classes = torch.from_numpy(task.rows.train_class).repeat(len(turns)).numpy()
        # a building seen in several turns is still one: each turn weighs its share
        fit_head(network, features, classes, regularisation=options.probe_c / len(turns))
    return network


def draw_texture(task: Task, network: PairNetwork, generator: torch.Generator) -> None:
    """Draw the random filters of a network, where it has any, from the pairs of the task."""
    for part in network.random_features:
        some = some_pixels(task, generator)
        images = torch.cat([some[:, channels] for channels in IMAGES[network.spec.fusion]])
        part.set_filters(draw_filters(images, len(part.filters), generator))


def some_pixels(task: Task, generator: torch.Generator) -> Tensor:
    """At most `STATISTICS_PAIRS` pairs, drawn without repetition: uint8 [n, 7 or 14, H, W]."""
    return task.pixels[distinct(len(task.pixels), min(len(task.pixels), STATISTICS_PAIRS), generator)]


def starts_at_regression(network: PairNetwork, options: FitOptions) -> bool:
    """Whether the head begins as a logistic regression rather than at random."""
    return options.head_start == "logistic" or (options.head_start == "auto" and network.pretrained)
