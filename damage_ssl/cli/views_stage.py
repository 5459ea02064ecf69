"""`damage-ssl views`: what augmentation does to an event's pairs, what it is worth, a policy found for the event."""

from pathlib import Path

import numpy as np
import torch

from damage_ssl import pipeline
from damage_ssl.cli.console import Console
from damage_ssl.errors import WorkspaceError
from damage_ssl.event.catalog import Event
from damage_ssl.files import atomic_path, write_json
from damage_ssl.learning.channels import pair_bytes
from damage_ssl.learning.device import keep_freed_memory
from damage_ssl.learning.views.measure import DEFAULT, Measured, Report, measure, policies
from damage_ssl.learning.views.policy import AugmentPolicy
from damage_ssl.learning.views.scorer import LabelledPairs
from damage_ssl.learning.views.search import find_policy
from damage_ssl.learning.views.sheet import SHOWN, draw_sheet, sheet_rows
from damage_ssl.patches.store import PatchStore
from damage_ssl.settings import SplitSettings, TrainSettings

PAIRS_SHOWN = 6
_STEPS = 1000


def views(
    console: Console,
    workspace: Path,
    name: str,
    *,
    out: Path | None = None,
    operations: str | None = None,
    measuring: bool = False,
    search_s: float | None = None,
    policy: Path | None = None,
    budget_s: float = 120.0,
    scheme: str = "binary-major",
    seed: int = 0,
) -> None:
    """Draw the sheet; with `search_s` find a policy first, with `measuring` measure all policies afterwards.

    Raises:
        LabelsError: searching or measuring without enough labels.
        SettingsError: an unknown operation, or a policy that cannot be read.
        WorkspaceError: the event has no patches.
    """
    event = Event.open(workspace, name)
    store = PatchStore.open(event.patches_path)
    keep_freed_memory()
    kept = policy or event.path / "views_policy.json"
    pairs = labelled_pairs(event, store, scheme, seed) if measuring or search_s is not None else None
    found: AugmentPolicy | None = None
    if search_s is not None and pairs is not None:
        found = _search(console, pairs, search_s, seed, kept)
    elif policy is not None or kept.exists():
        found = AugmentPolicy.read(kept)
    sheet = out or event.path / "views.png"
    shown = tuple(operations.split()) if operations else SHOWN
    _draw(event, store, shown, found, sheet, seed)
    console.say(f"sheet of {len(shown)} operations and {len(policies(found))} policies: {sheet}")
    values: dict[str, object] = {"sheet": str(sheet), "policy": str(kept) if found is not None else None}
    if found is not None:
        values["found"] = dict(found.found)
    if measuring and pairs is not None:
        with console.progress("measure") as bar:
            report = measure(
                pairs, found, seconds=budget_s, seed=seed, progress=lambda share: bar(int(share * _STEPS), _STEPS)
            )
        table = event.path / "views.json"
        write_json(table, {"event": event.name, "seed": seed, **report.to_json()})
        _report(console, report, kept)
        console.say(f"table: {table}")
        values |= {"table": str(table), **report.to_json()}
    console.result(values)


def labelled_pairs(event: Event, store: PatchStore, scheme: str, seed: int) -> LabelledPairs:
    """The labelled buildings as a training would divide them.

    Raises:
        LabelsError: there are not enough.
    """
    plan = pipeline.plan_run(event, store, TrainSettings(scheme=scheme, seed=seed), SplitSettings())
    return LabelledPairs(
        train=pair_bytes(store.load(np.array(plan.train_id, dtype=str))),
        train_class=np.array(plan.train_class, dtype=np.int64),
        validation=pair_bytes(store.load(np.array(plan.validation_id, dtype=str))),
        validation_class=np.array(plan.validation_class, dtype=np.int64),
    )


def _search(console: Console, pairs: LabelledPairs, seconds: float, seed: int, path: Path) -> AugmentPolicy:
    with console.progress("search") as bar:
        found = find_policy(pairs, seconds, seed=seed, progress=lambda share: bar(int(share * _STEPS), _STEPS))
    found.write(path)
    facts = found.found
    console.say(
        f"policy of {len(found.sub_policies)} sub-policies out of {facts['tried']} tried: validation loss "
        f"{facts['loss_kept']:.3f} (all tried {facts['loss_tried']:.3f}, untouched "
        f"{facts['loss_untouched']:.3f}); {path}"
    )
    return found


def _draw(
    event: Event, store: PatchStore, operations: tuple[str, ...], found: AugmentPolicy | None, out: Path, seed: int
) -> None:
    index = store.index()
    assessed = index.loc[index["assessed"], "building_id"].to_numpy(str)
    if not len(assessed):
        raise WorkspaceError(f"event '{event.name}': no building can be assessed, so there is no pair to show")
    drawn = np.random.default_rng(seed).permutation(len(assessed))[:PAIRS_SHOWN]
    pixels = pair_bytes(store.load(assessed[np.sort(drawn)]))
    rows = sheet_rows(pixels, operations, policies(found), torch.Generator().manual_seed(seed))
    title = f"{event.name}: views by strength, pre above post; the footprint is outlined"
    with atomic_path(out) as temporary:
        draw_sheet(rows, title).save(temporary, format="PNG")


def _report(console: Console, report: Report, policy: Path) -> None:
    console.say(
        f"frozen features, trained on {report.trained_on:,} buildings, validated on {report.validated_on:,} "
        f"({report.seconds:.0f} s)"
    )
    console.say(f"{'views':<16}{'affinity':>9}{'diversity':>10}{'accuracy':>9}{'loss':>7}  against {DEFAULT}")
    for row in report.rows:
        console.say(_line(row))
    if any(row.name == "autoaugment" for row in report.rows):
        console.say("autoaugment was found on validation buildings, perhaps these: its row is then optimistic")
    if report.left_out:
        console.say(f"not measured within the time: {', '.join(report.left_out)}")
    option = f"strong_policy = '{report.chosen}'" + (
        f", policy = '{policy.name}'" if report.chosen == "autoaugment" else ""
    )
    console.say(f"chosen: {report.chosen} ([train.options] {option})")


def _line(row: Measured) -> str:
    against = "" if row.better_by is None else f"{row.better_by:+.1f} standard errors"
    name = row.name if row.is_policy or row.name == "untouched" else f"  {row.name}"
    return f"{name:<16}{row.affinity:>9.3f}{row.diversity:>10.2f}{row.accuracy:>9.3f}{row.loss:>7.3f}  {against}"
