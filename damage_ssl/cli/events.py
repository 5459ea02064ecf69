"""What `init` says about the footprints that it read, and about the times of the scenes."""

import dataclasses
from typing import Any

from damage_ssl.event.catalog import Event
from damage_ssl.event.footprints.model import SourceReport
from damage_ssl.event.footprints.storage import LEFT_OUT_FILE

_SHOWN = 5


def footprint_lines(event: Event) -> list[str]:
    """One line a source, and those that were left out by name as far as they fit."""
    lines = [_sentence(report) for report in event.footprint_sources()]
    left_out = event.footprints_left_out()
    for reason, rows in left_out.groupby("reason", sort=True):
        names = ", ".join(rows["source_id"].head(_SHOWN)) + (", …" if len(rows) > _SHOWN else "")
        lines.append(f"  left out as {str(reason).replace('_', ' ')}: {len(rows):,} ({names})")
    if len(left_out):
        lines.append(f"  all that were left out: {event.path / LEFT_OUT_FILE}")
    return lines


def footprint_values(event: Event) -> dict[str, Any]:
    """The same for a machine."""
    return {"footprint_sources": [dataclasses.asdict(report) for report in event.footprint_sources()]}


def date_remark(event: Event) -> str | None:
    """What is odd about the times of the scenes: pre images that are younger than post images."""
    pre = [(scene.datetime, scene.scene_id) for scene in event.scenes("pre") if scene.datetime]
    post = [(scene.datetime, scene.scene_id) for scene in event.scenes("post") if scene.datetime]
    if not pre or not post or max(pre)[0] <= min(post)[0]:
        return None
    return (
        f"{max(pre)[1]} ({max(pre)[0]:%Y-%m-%d %H:%M}) is younger than {min(post)[1]} ({min(post)[0]:%Y-%m-%d %H:%M}): "
        "are --pre and --post the right way round? If the times in files or names are wrong, give --pre-date and "
        "--post-date"
    )


def _sentence(report: SourceReport) -> str:
    parts = [f"{report.kept:,} footprints"]
    if report.features is not None:
        parts[0] += f" of {report.features:,}"
    parts += [f"{count:,} {kind}s" for kind, count in report.kinds.items() if kind != "polygon"]
    counts = {
        "outside the area": report.outside,
        "below the confidence": report.below_confidence,
        "left out": sum(report.left_out.values()),
        "repaired": report.repaired,
    }
    parts += [f"{count:,} {what}" for what, count in counts.items() if count]
    return f"  {report.source} ({report.format}): {', '.join(parts)}"
