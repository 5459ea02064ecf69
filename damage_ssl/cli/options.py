"""Options that several commands share: what of the settings file and of the machine a command may use."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from damage_ssl.errors import InputError, SettingsError, nearest_name
from damage_ssl.events.event import Event
from damage_ssl.imagery.scene import Role
from damage_ssl.patches.store import PatchStore
from damage_ssl.settings import PatchSettings, Resources, SourceSettings, SplitSettings, from_mapping

if TYPE_CHECKING:
    from damage_ssl.learning.settings import TrainSettings

EventName = Annotated[str, typer.Argument(metavar="EVENT", help="Name of the event (a folder in the workspace).")]
Workspace = Annotated[Path, typer.Option(help="Folder that holds the events.", envvar="DAMAGE_SSL_WORKSPACE")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for a machine instead of text.")]
WORKSPACE = Path("workspace")

Workers = Annotated[
    int, typer.Option(min=0, metavar="N", help="Local processes that work side by side; 0: this one only.")
]
Memory = Annotated[
    str,
    typer.Option(
        metavar="SIZE",
        help="Upper bound of the memory over all processes, e.g. 800MB or 4GB; auto: 1GB + 500MB a worker.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Scheduler of a Dask cluster whose workers see the same files."),
]

MEMORY = "auto"
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def resources_of(workers: int, memory: str, cluster: str | None) -> Resources:
    """The three options as one value.

    Raises:
        SettingsError: the size is not understood or out of bounds.
    """
    memory_bytes = None if memory == MEMORY else bytes_of(memory)
    return Resources(workers=workers, memory_bytes=memory_bytes, cluster=cluster)


def bytes_of(size: str) -> int:
    """`1GB` → 1 000 000 000, `1GiB` → 1 073 741 824; a bare number is bytes.

    Raises:
        SettingsError: it is not a size.
    """
    found = _SIZE.fullmatch(size.strip())
    if found is None:
        raise SettingsError(f"--memory: '{size}' is not a size; give a number and a unit, e.g. 800MB or 2GB")
    number, unit, binary = found.groups()
    unit_bytes: int = (1024 if binary else 1000) ** _POWERS[unit.upper()]
    return round(float(number) * unit_bytes)


_TABLES = ("patches", "train", "split", "sources")


@dataclass(frozen=True, kw_only=True)
class AllSettings:
    """The settings of all stages: the file's values, overridden by what the command line gave."""

    patches: PatchSettings | None
    train: "TrainSettings"
    split: SplitSettings
    sources: SourceSettings


def all_settings(event: Event, file: Path | None, given: Mapping[str, Any]) -> AllSettings:
    """The tables of a settings file, [train] overridden by what the command line gave."""
    tables = _read_tables(file)
    return AllSettings(
        patches=patch_settings(event, file, {}),
        train=train_settings(file, given),
        split=from_mapping(SplitSettings, tables.get("split", {}), f"{file}, [split]"),
        sources=from_mapping(SourceSettings, tables.get("sources", {}), f"{file}, [sources]"),
    )


def train_settings(file: Path | None, given: Mapping[str, Any]) -> "TrainSettings":
    """The table [train] of a settings file, overridden by what the command line gave."""
    from damage_ssl.learning.settings import TrainSettings

    values = _read_tables(file).get("train", {}) | {key: value for key, value in given.items() if value is not None}
    if (weights := values.pop("weights", None)) is not None:
        values["options"] = {**values.get("options", {}), "weights": weights}
    return from_mapping(TrainSettings, values, f"{file or 'command line'}, [train]")


def patch_settings(event: Event, file: Path | None, given: Mapping[str, Any]) -> PatchSettings | None:
    """What a settings file and the command line ask for; None where that is nothing: the last cut's are kept."""
    table = _read_tables(file).get("patches", {})
    values = {**table, **{key: value for key, value in given.items() if value is not None}}
    if not values:
        return None
    before = PatchStore.kept_settings(event.patches_path)
    kept = {} if before is None else before.model_dump()
    return from_mapping(PatchSettings, {**kept, **values}, f"{file or 'command line'}, [patches]")


def _read_tables(file: Path | None) -> dict[str, dict[str, Any]]:
    if file is None:
        return {}
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{file}: there is no such settings file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: is not a TOML file: {error}") from None
    for name, value in tables.items():
        if name not in _TABLES or not isinstance(value, dict):
            raise SettingsError(f"{file}: table [{name}] is unknown: {nearest_name(name, _TABLES)}")
    return tables


Rasters = Annotated[list[str], typer.Option(metavar="PATH...", help="Rasters: files, folders or globs.")]
Footprints = Annotated[
    list[Path],
    typer.Option(metavar="FILE...", help="Building footprints in any common format; several: the preferred one first."),
]
IdColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Column of the footprints' ids, e.g. OBJECTID (default: building_id, id, uid … if complete).",
    ),
]
Aoi = Annotated[Path | None, typer.Option(metavar="FILE", help="Area of interest: only buildings inside it.")]
Hazard = Annotated[str | None, typer.Option(help="Kind of disaster: earthquake, fire, flood, wind, conflict …")]
PreDate = Annotated[str | None, typer.Option(help="Acquisition date of the pre images, where the files do not say.")]
PostDate = Annotated[str | None, typer.Option(help="Acquisition date of the post images, where the files do not say.")]
Bands = Annotated[
    str | None,
    typer.Option(metavar="R,G,B", help="Numbers of red, green and blue (from 1), e.g. 3,2,1; else the file says."),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option("--settings", metavar="TOML", help="Settings file: [patches], [train], [split], [sources]."),
]
Algorithm = Annotated[
    str | None,
    typer.Option(
        help="How the network learns, e.g. mixmatch (default), fixmatch, adamatch, supervised-strong or frozen-lite0; "
        "docs/guide/training.md has all of them."
    ),
]
Scheme = Annotated[
    str | None,
    typer.Option(
        help="What counts as damaged: binary-major, binary-minor or grades. Default: what is stated for the event."
    ),
]
Network = Annotated[
    str | None,
    typer.Option(help="cached-lite0 (default, features are kept), efficientnet-lite0, small-cnn or smp:<encoder>."),
]
Seed = Annotated[int | None, typer.Option(help="Seed of the split, the network and the views.")]
Steps = Annotated[int | None, typer.Option(min=1, help="Training steps.")]
Minutes = Annotated[float | None, typer.Option(min=0.05, help="Upper bound of the training time.")]
EncoderWeights = Annotated[
    Path | None,
    typer.Option("--weights", metavar="FILE", help="Weights that the encoder starts from, as pretrain leaves them."),
]
GsdM = Annotated[float | None, typer.Option(min=0.05, help="Metres a pixel of the patches.")]
SizePx = Annotated[int | None, typer.Option(min=16, help="Pixels a side of the patches.")]
PostScene = Annotated[
    str | None,
    typer.Option(help="Of post scenes that show a building equally well: nearest (to pre; default) or latest."),
]
ContextGsdM = Annotated[
    float | None, typer.Option(min=0.0, help="Metres a pixel of the wider context view (default 1; 0: no such view).")
]
PriorModelName = Annotated[
    str | None,
    typer.Option(
        "--prior-model",
        metavar="NAME|FILE",
        help="Prior model: a packaged one, one of the workspace, or a file; 'none': no prior model. Default: the one "
        "of the event's hazard, made of simulated towns (train: where the event has a first map).",
    ),
]
RunId = Annotated[str | None, typer.Option("--run-id", help="Name of the run (default: the best one, or a new one).")]


def band_numbers(both: str | None, *, pre: str | None, post: str | None) -> "dict[Role, tuple[int, ...]] | None":
    """The bands of each side from `--bands`, `--pre-bands` and `--post-bands`; None where none was given.

    Raises:
        InputError: one is not three numbers from 1, or one for a grey image.
    """
    given = {"pre": pre or both, "post": post or both}
    found: dict[Role, tuple[int, ...]] = {}
    for role, text in given.items():
        if text is None:
            continue
        numbers = [part.strip() for part in text.split(",")]
        if len(numbers) not in {1, 3} or not all(part.isascii() and part.isdigit() and int(part) for part in numbers):
            raise InputError(f"--bands {text}: give three numbers from 1, for red, green and blue, such as 3,2,1")
        found["pre" if role == "pre" else "post"] = tuple(int(part) for part in numbers)
    return found or None
