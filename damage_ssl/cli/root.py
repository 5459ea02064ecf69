"""One command a stage. Each imports what it needs when it runs, so that `--help` answers at once."""

from pathlib import Path
from typing import Annotated, Any

import typer

from damage_ssl import __version__
from damage_ssl.cli.benchmark_commands import benchmark_command
from damage_ssl.cli.catalog_commands import catalog_cli
from damage_ssl.cli.console import Console
from damage_ssl.cli.footprints_commands import footprints_cli
from damage_ssl.cli.imagery_commands import imagery_cli
from damage_ssl.cli.label_commands import label_cli
from damage_ssl.cli.network_commands import ensemble_command, pretrain_command
from damage_ssl.cli.options import WORKSPACE, EventName, Json, Workspace
from damage_ssl.cli.register_commands import register_command
from damage_ssl.cli.resources import MEMORY, Cluster, Memory, Workers, resources_of
from damage_ssl.cli.views_commands import views_command

cli = typer.Typer(
    help="Building damage maps from pre/post imagery and a handful of labels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
cli.add_typer(label_cli, name="label")
cli.add_typer(footprints_cli, name="footprints")
cli.add_typer(imagery_cli, name="imagery")
cli.add_typer(catalog_cli, name="catalog")

Rasters = Annotated[list[str], typer.Option(metavar="PATH...", help="Rasters: files, folders or globs.")]
Footprints = Annotated[
    list[Path],
    typer.Option(metavar="FILE...", help="Building footprints in any common format; several: the preferred one first."),
]
Aoi = Annotated[Path | None, typer.Option(metavar="FILE", help="Area of interest: only buildings inside it.")]
Hazard = Annotated[str | None, typer.Option(help="earthquake, fire, flood, wind, conflict …")]
PreDate = Annotated[str | None, typer.Option(help="Acquisition date of the pre images, where the files do not say.")]
PostDate = Annotated[str | None, typer.Option(help="Acquisition date of the post images, where the files do not say.")]
SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", metavar="TOML", help="Settings file: [patches], [train], [split], [sources]."),
]
Algorithm = Annotated[str | None, typer.Option(help="fixmatch, mixmatch, supervised-strong, frozen-lite0 …")]
Scheme = Annotated[str | None, typer.Option(help="binary-major, binary-minor or grades.")]
Network = Annotated[str | None, typer.Option(help="efficientnet-lite0, cached-lite0 (in seconds), small-cnn, smp:…")]
Seed = Annotated[int | None, typer.Option(help="Seed of the split, the network and the views.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Training steps.")]
Minutes = Annotated[float | None, typer.Option(min=0.05, help="Upper bound of the training time.")]
EncoderWeights = Annotated[
    Path | None, typer.Option("--weights", metavar="FILE", help="Weights that the encoder starts from: see pretrain.")
]
GsdM = Annotated[float | None, typer.Option(min=0.05, help="Metres a pixel of the patches.")]
SizePx = Annotated[int | None, typer.Option(min=16, help="Pixels a side of the patches.")]
ContextGsdM = Annotated[float | None, typer.Option(min=0.05, help="Metres a pixel of the wider context view.")]
RunId = Annotated[str | None, typer.Option("--run-id", help="Name of the run (default: the newest, or a new one).")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@cli.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False,
) -> None:
    """Building damage maps from pre/post imagery and a handful of labels."""


@cli.command()
def init(
    event: EventName,
    pre: Rasters = [],  # noqa: B006 (typer copies it)
    post: Rasters = [],  # noqa: B006
    footprints: Footprints = [],  # noqa: B006
    aoi: Aoi = None,
    hazard: Hazard = None,
    pre_date: PreDate = None,
    post_date: PostDate = None,
    from_xbd: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An xBD folder with images/ and labels/.")
    ] = None,
    from_catalog: Annotated[
        str | None, typer.Option(metavar="ID", help="An event of `damage-ssl catalog list`; the sample is drawn.")
    ] = None,
    min_confidence: Annotated[
        float | None, typer.Option(help="Leave out footprints that are less sure (0 to 1).")
    ] = None,
    point_size_m: Annotated[float, typer.Option(help="Side of the square for a building known as a point.")] = 10.0,
    overwrite: Annotated[bool, typer.Option(help="Replace an event of this name.")] = False,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Describe an event: check imagery and footprints, and write its STAC catalogue and footprints."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import stages
        from damage_ssl.settings import FootprintSettings

        stages.init(
            console,
            workspace,
            event,
            stages.EventInputs(
                pre=pre,
                post=post,
                footprints=footprints,
                aoi=aoi,
                hazard=hazard,
                pre_datetime=pre_date,
                post_datetime=post_date,
                from_xbd=from_xbd,
                footprint_settings=FootprintSettings(min_confidence=min_confidence, point_size_m=point_size_m),
            ),
            from_catalog=from_catalog,
            overwrite=overwrite,
        )


@cli.command()
def patches(
    event: EventName,
    gsd_m: GsdM = None,
    size_px: SizePx = None,
    context_gsd_m: ContextGsdM = None,
    settings: SettingsFile = None,
    workers: Workers = 0,
    memory: Memory = MEMORY,
    cluster: Cluster = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Cut a pre/post pair for every building; nothing is done when nothing changed."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import stages

        given = {"gsd_m": gsd_m, "size_px": size_px, "context_gsd_m": context_gsd_m}
        resources = resources_of(workers, memory, cluster)
        stages.patches(console, workspace, event, settings, given, resources)


cli.command("register")(register_command)
cli.command("pretrain")(pretrain_command)
cli.command("ensemble")(ensemble_command)
cli.command("benchmark")(benchmark_command)
cli.command("views")(views_command)


@cli.command("zero-label")
def zero_label(
    event: EventName,
    seed: Annotated[int, typer.Option(help="Seed of the sample of unrelated buildings.")] = 0,
    run_id: RunId = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """A first map without any label: how much each building changed, as a score that is not a probability."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli.zero_label_stage import zero_label as compare

        compare(console, workspace, event, seed=seed, run_id=run_id)


@cli.command()
def features(
    event: EventName,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Weights of the frozen network: see pretrain; packaged: EfficientNet-Lite0's."
        ),
    ] = None,
    network: Annotated[str | None, typer.Option(help="What the weights are of, where the file does not say.")] = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Describe every building by frozen features, so that the app's map follows your labels. Goes on where stopped."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli.features_stage import features as describe

        describe(console, workspace, event, weights=weights, network=network)


@cli.command()
def train(
    event: EventName,
    algorithm: Algorithm = None,
    scheme: Scheme = None,
    network: Network = None,
    seed: Seed = None,
    steps: Steps = None,
    minutes: Minutes = None,
    weights: EncoderWeights = None,
    settings: SettingsFile = None,
    run_id: RunId = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with this run just as it was begun.")] = None,
    source: Annotated[
        list[str],
        typer.Option(
            metavar="EVENT",
            help="Another event of the workspace whose labels are learned from too; repeat. Try --algorithm adamatch.",
        ),
    ] = [],  # noqa: B006 (typer copies it)
    workers: Workers = 0,
    memory: Memory = MEMORY,
    cluster: Cluster = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Train on the labels and all unlabelled buildings, then predict every building. Goes on where it was stopped."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import stages

        given = _train_options(algorithm, scheme, network, seed, steps, minutes)
        given["weights"] = None if weights is None else str(weights.resolve())
        resources = resources_of(workers, memory, cluster)
        stages.train(
            *(console, workspace, event, settings, given),
            run_id=run_id,
            resume=resume,
            sources=source,
            resources=resources,
        )


@cli.command()
def predict(
    event: EventName,
    run_id: RunId = None,
    workers: Workers = 0,
    memory: Memory = MEMORY,
    cluster: Cluster = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Predict every building again with a finished run."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import stages

        resources = resources_of(workers, memory, cluster)
        stages.predict(console, workspace, event, run_id=run_id, resources=resources)


@cli.command()
def evaluate(
    event: EventName,
    truth: Annotated[Path, typer.Option(metavar="FILE", help="CSV with building_id,grade.")],
    run_id: RunId = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Measure a run against known grades, leaving out every building that it was trained or calibrated on."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import stages

        stages.evaluate(console, workspace, event, truth, run_id=run_id)


@cli.command()
def export(
    event: EventName,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="GeoJSON to write, with a QGIS style.")] = None,
    pack: Annotated[
        bool, typer.Option("--pack", help="All a receiver needs, as a ZIP in the event's products.")
    ] = False,
    classes: Annotated[list[str] | None, typer.Option("--class", help="Only this class in the pack; repeat.")] = None,
    p_min: Annotated[float, typer.Option(help="Only from this p_damaged on in the pack.")] = 0.0,
    p_max: Annotated[float, typer.Option(help="Only up to this p_damaged in the pack.")] = 1.0,
    assessed_only: Annotated[bool, typer.Option("--assessed-only", help="None that was not assessed.")] = False,
    licence: Annotated[str | None, typer.Option(help="Licence and source that the pack's README names.")] = None,
    run_id: RunId = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Write the damage map: every footprint once; before any training, its coverage and reasons only."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import handover_stage
        from damage_ssl.products.selection import Selection

        chosen = Selection(
            classes=tuple(classes) if classes else None, p_min=p_min, p_max=p_max, not_assessed=not assessed_only
        )
        handover_stage.export(
            console, workspace, event, out, run_id=run_id, pack=pack, selection=chosen, licence=licence
        )


@cli.command()
def status(
    event: Annotated[str | None, typer.Argument(metavar="[EVENT]", help="An event; without it, all of them.")] = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """Say where an event stands and what comes next."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import stages

        stages.status(console, workspace, event)


@cli.command()
def simulate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write the simulated event to.")],
    buildings: Annotated[int, typer.Option(min=1, help="How many buildings.")] = 600,
    hazard: Annotated[str, typer.Option(help="earthquake, fire, flood or wind.")] = "earthquake",
    seed: Annotated[int, typer.Option(help="The same seed draws the same town.")] = 0,
    json: Json = False,
) -> None:
    """Draw a synthetic town before and after a disaster, with known truth."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import stages

        stages.simulate(console, directory, buildings=buildings, hazard=hazard, seed=seed)


@cli.command()
def assess(
    event: EventName,
    pre: Rasters,
    post: Rasters,
    footprints: Footprints,
    labels: Annotated[Path, typer.Option(metavar="FILE", help="CSV with building_id,grade.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="GeoJSON to write.")],
    aoi: Aoi = None,
    hazard: Hazard = None,
    pre_date: PreDate = None,
    post_date: PostDate = None,
    algorithm: Algorithm = None,
    scheme: Scheme = None,
    network: Network = None,
    seed: Seed = None,
    steps: Steps = None,
    minutes: Minutes = None,
    settings: SettingsFile = None,
    workspace: Workspace = WORKSPACE,
    json: Json = False,
) -> None:
    """All stages in one: from rasters, footprints and labels to a GeoJSON damage map. Stages already done are kept."""
    console = Console(json_output=json)
    with console.errors():
        from damage_ssl.cli import stages

        inputs = stages.EventInputs(
            pre=pre,
            post=post,
            footprints=footprints,
            aoi=aoi,
            hazard=hazard,
            pre_datetime=pre_date,
            post_datetime=post_date,
        )
        given = _train_options(algorithm, scheme, network, seed, steps, minutes)
        stages.assess(console, workspace, event, inputs, labels, out, settings, given)


@cli.command()
def app(
    workspace: Workspace = WORKSPACE,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8501,
    address: Annotated[str, typer.Option(help="Where to listen; anything but localhost needs sign-in.")] = "localhost",
    read_only: Annotated[bool, typer.Option("--read-only", help="Everybody may look and download only.")] = False,
    secrets: Annotated[Path | None, typer.Option(metavar="FILE", help="TOML file with [auth] for sign-in.")] = None,
) -> None:
    """Open the map viewer in the browser; on this machine only, unless sign-in is configured (docs/access.md)."""
    console = Console(json_output=False)
    with console.errors():
        from damage_ssl.cli import stages

        stages.app(console, workspace, port=port, address=address, read_only=read_only, secrets=secrets)


def _train_options(
    algorithm: str | None,
    scheme: str | None,
    network: str | None,
    seed: int | None,
    steps: int | None,
    minutes: float | None,
) -> dict[str, Any]:
    return {
        "algorithm": algorithm,
        "scheme": scheme,
        "network": network,
        "seed": seed,
        "steps": steps,
        "minutes": minutes,
    }
