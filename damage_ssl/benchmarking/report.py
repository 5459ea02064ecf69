"""The report: one HTML file that needs nothing else and opens offline."""

import json
import platform
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from typing import Any

import torch

from damage_ssl import __version__
from damage_ssl.benchmarking.bench import Bench
from damage_ssl.benchmarking.findings import AXES, Findings, PointScores, find, sentences
from damage_ssl.benchmarking.plots import Dot, as_svg, curves, noise
from damage_ssl.benchmarking.random_search import search_space
from damage_ssl.benchmarking.statistics import Spread
from damage_ssl.files import write_text

TITLES = {
    "labels": "How many labels?",
    "unlabelled": "How much do unlabelled buildings help?",
    "mismatch": "Unlabelled pairs that are no buildings of the event",
    "imbalance": "Few damaged among the labelled",
    "validation": "How much does a small validation set err?",
}
_LONG = ("test_p", "validation_p", "settings")
"""What the report leaves out of a cell; its file has it."""
_STYLE = """
:root { color-scheme: light; font: 15px/1.5 system-ui, sans-serif; color: #20252c; }
body { max-width: 1160px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; }
p, li { max-width: 78ch; } .quiet { color: #5a636f; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .6rem 0; font-size: .87rem; }
th, td { padding: .22rem .7rem .22rem 0; text-align: left; border-bottom: 1px solid #e3e6ea; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
svg { max-width: 100%; height: auto; font-family: system-ui, sans-serif; display: block; }
details { margin: .6rem 0; } summary { cursor: pointer; } code { font-size: .87em; }
.failed { color: #9b1c1c; }
"""


def write_report(bench: Bench, path: Path, *, event: str, command: str) -> Findings:
    """Write what is there so far; the numbers of all cells are in it, also as JSON in the element `cells`.

    Raises:
        StorageError: it cannot be written.
    """
    findings = find(bench)
    write_text(path, _page(bench, findings, event, command))
    return findings


def _page(bench: Bench, findings: Findings, event: str, command: str) -> str:
    body = [
        f"<h1>Benchmark of learning methods: {escape(event)}</h1>",
        f'<p class="quiet">{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, damage_ssl {escape(__version__)}</p>',
        *_summary(bench, findings),
        *(part for name in findings.measured for part in _experiment(bench, findings, name)),
        *(
            f"<h2>{escape(TITLES[name])}</h2><p>Not done: {escape(why)}.</p>"
            for name, why in bench.plan.skipped.items()
        ),
        *_tuning(bench),
        *_protocol(bench),
        *_run(bench, command),
        *_cells(bench),
    ]
    head = f'<meta charset="utf-8"><title>Benchmark: {escape(event)}</title>'
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    inner = "\n".join(body)
    head += f"{view}<style>{_STYLE}</style>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{inner}\n</body></html>\n'


def _summary(bench: Bench, findings: Findings) -> Iterable[str]:
    missing = len(bench.missing())
    failed = sum(found is not None and found["state"] == "failed" for found in map(bench.result, bench.plan.cells))
    yield "<h2>In plain words</h2>"
    if missing:
        yield (
            f"<p><strong>Not complete:</strong> {missing} of {len(bench.plan.cells)} trainings are still to be done; "
            "run the same command again to go on.</p>"
        )
    if failed:
        yield f'<p class="failed">{failed} trainings failed; their errors are in the last table.</p>'
    said = sentences(bench, findings)
    if said:
        yield "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in said) + "</ul>"
    else:
        yield "<p>No result yet.</p>"
    seeds = len(bench.plan.settings.seeds)
    yield (
        f'<p class="quiet">AUROC of P(damaged) on held-out blocks: mean ± standard deviation over {seeds} seeds, in '
        "brackets the 95 % interval of the mean. “No difference shown” means that two intervals have values in common, "
        "not that the methods are equally good. All comparisons are looked at together, uncorrected: one of many "
        "that do not overlap may be chance. This is one event; another may rank the methods otherwise.</p>"
    )


def _experiment(bench: Bench, findings: Findings, name: str) -> Iterable[str]:
    measured = findings.measured[name]
    yield f"<h2>{escape(TITLES[name])}</h2>"
    if name == "validation":
        yield from _noise(bench, findings)
        return
    settings = bench.plan.settings
    if name != "labels":
        yield f'<p class="quiet">{settings.middle_labels} labels a class.{escape(_note(bench, name))}</p>'
    names = {each.value: f"{each.value:g}" for each in measured}
    dots = {
        method: [Dot(m.value, m.spread.mean, m.spread.sd) for m in measured if m.method == method and m.spread]
        for method in settings.methods
    }
    figure = curves(dots, x_label=AXES[name], x_names=names)
    if figure is not None:
        yield as_svg(figure, TITLES[name])
    head = ["method", *(f"{AXES[name]} {each}" for each in names.values())]
    rows = [
        [method, *(_score([m for m in measured if m.method == method and m.value == value]) for value in names)]
        for method in settings.methods
    ]
    yield _table(f"experiment-{name}", head, rows, numbers_from=1)


def _note(bench: Bench, name: str) -> str:
    if name == "mismatch" and bench.foreign is not None:
        counts = {cell.unlabelled_count for point in bench.plan.points[name] for cell in point.cells}
        count = next((each for each in counts if each is not None), None)
        number = "" if count is None else f"; the number of unlabelled pairs, {count:,}, stays"
        where = (
            "windows of the event's own imagery in which no footprint lies"
            if bench.plan.settings.foreign == "windows"
            else f"buildings of the event {bench.plan.settings.foreign}"
        )
        return f" {len(bench.foreign):,} foreign pairs are {where}{number}."
    if name == "imbalance":
        return " The number of labelled buildings stays; the unlabelled ones and the held-out blocks are as they are."
    if name == "unlabelled":
        return " Methods that learn from labels only see the unlabelled pairs in the statistics of their features."
    return ""


def _noise(bench: Bench, findings: Findings) -> Iterable[str]:
    if not findings.noise:
        yield f"<p>Not worked out: {escape(findings.noise_lack)}.</p>"
        return
    sets = findings.noise
    yield (
        "<p>Validation sets of each size are drawn again and again, with replacement, from the "
        f"{findings.validation_buildings} validation buildings, and the trained models of the middle number of labels "
        "are scored on each. Where the deviation of a score is as large as the gap between methods, such a set "
        "chooses little better than by lot. (Sets are drawn building by building; neighbours that look alike make the "
        "true noise larger. The methods' settings were chosen on these same buildings.)</p>"
    )
    figure = noise([each.size for each in sets], [each.sd for each in sets], sets[0].gap)
    yield as_svg(figure, "Deviation of a validation score by the size of the set")
    head = ["buildings", "sd of one score", "gap of the best two", "chooses as all do", "held-out AUROC lost"]
    rows = [
        [
            str(each.size),
            f"{each.sd:.4f}",
            "" if each.gap is None else f"{each.gap:.4f}",
            f"{each.right:.0%}",
            f"{each.lost:.4f}",
        ]
        for each in sets
    ]
    yield _table("experiment-validation", head, rows, numbers_from=0)


def _tuning(bench: Bench) -> Iterable[str]:
    plan, network = bench.plan, bench.plan.settings.train.network
    yield "<h2>Tuning: the same budget for every method</h2>"
    yield (
        f"<p>{plan.settings.trials} trials a method: its defaults, then draws at random from its search space, at "
        f"{plan.settings.middle_labels} labels a class; the best AUROC on the validation blocks is taken for all that "
        "follows. The held-out blocks had no part in it.</p>"
    )
    rows = []
    for method in plan.settings.methods:
        chosen = bench.chosen(method)
        for cell in (each for each in plan.trials if each.method == method):
            found = bench.result(cell)
            score = _outcome(found, "validation_auroc")
            values = "" if found is None else _values(found["values"]) or "defaults"
            taken = "chosen" if found is not None and chosen is not None and found["values"] == chosen else ""
            rows.append([method, str(cell.trial), score, values, taken])
    blind = [m for m in plan.settings.methods if (best := _best_trial(bench, m)) is not None and best <= 0.5]
    if blind:
        yield (
            f"<p><strong>The validation blocks do not tell the settings of {escape(', '.join(blind))} apart:</strong> "
            "not even the best trial ranks their buildings better than chance, so what was chosen is as good as drawn "
            "by lot.</p>"
        )
    yield _table("tuning", ["method", "trial", "validation AUROC", "settings", ""], rows, numbers_from=1, numbers_to=3)
    spaces = [
        [method, "; ".join(f"{k}: {v}" for k, v in search_space(method, network).items())]
        for method in plan.settings.methods
    ]
    table = _table("spaces", ["method", "search space"], spaces)
    yield f"<details><summary>Search spaces</summary>{table}</details>"


def _best_trial(bench: Bench, method: str) -> float | None:
    """The highest validation score of a method's trials; None while there is none."""
    found = [bench.result(cell) for cell in bench.plan.trials if cell.method == method]
    scores = [float(each["validation_auroc"]) for each in found if each is not None and each["state"] == "done"]
    return max(scores, default=None)


def _protocol(bench: Bench) -> Iterable[str]:
    division, material = bench.division, bench.material
    blocks, validating = (len(set(division.block[rows].tolist())) for rows in (division.test, division.validation))
    damaged, statement = material.damaged, material.scheme.statement
    parts = [(name, rows) for name, rows in (("held-out", division.test), ("validation", division.validation))]
    counts = "; ".join(f"{len(rows):,} {name} buildings ({int(damaged[rows].sum()):,} damaged)" for name, rows in parts)
    yield "<h2>How it was measured</h2>"
    yield (
        "<p>After Oliver, Odena, Raffel, Cubuk and Goodfellow 2018, <em>Realistic Evaluation of Deep Semi-Supervised "
        "Learning Algorithms</em> (arXiv:1804.09170). "
        f"{escape(statement[:1].upper() + statement[1:])}. Whole blocks of {division.block_m:g} m: {counts}; "
        f"{len(division.pool):,} buildings to be trained on, with or without their labels. No patch of one part "
        f"shares a pixel with one of another ({material.reach_m:g} m apart at least along one axis). A seed draws the "
        "labelled and the unlabelled buildings, the network's start and the views; every method gets the same draws. "
        "Held-out pixels are not used without labels either (in a real event they may be, which can favour the methods "
        "that learn from unlabelled buildings). The division into blocks is the same for all seeds; the intervals add "
        f"what drawing the {blocks} held-out blocks again would change to Student's interval over the seeds.</p>"
    )
    if blocks < 8:
        yield f"<p>{blocks} held-out blocks are few: the intervals may be too narrow.</p>"
    if validating < 8:
        yield f"<p>{validating} validation blocks are few: what is chosen on them may not be best elsewhere.</p>"


def _run(bench: Bench, command: str) -> Iterable[str]:
    settings = bench.plan.settings
    device = torch.cuda.get_device_name() if torch.cuda.is_available() and settings.train.device != "cpu" else "CPU"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scikit-learn", "scipy"))
    seconds = sum(found["seconds"] for found in map(bench.result, bench.plan.cells) if found is not None)
    facts = {
        "command": command,
        "machine": f"{platform.machine()}, {cpu_count()} processors, {platform.system()}; trained on {device}",
        "versions": f"damage_ssl {__version__}, Python {sys.version.split()[0]}, {versions}",
        "seeds": ", ".join(map(str, settings.seeds)) + f"; division {settings.split_seed}",
        "network": f"{settings.train.network}, {settings.train.steps} steps",
        "trainings": f"{len(bench.plan.trials)} trials, {len(bench.plan.fits)} others, {seconds / 60:.1f} minutes",
    }
    yield "<h2>What was run</h2>"
    yield _table("run", ["", ""], [[name, value] for name, value in facts.items()])


def _cells(bench: Bench) -> Iterable[str]:
    head = ["kind", "method", "labels", "seed", "trial", "unlabelled", "foreign", "damaged share"]
    head += ["validation AUROC", "held-out AUROC", "seconds", "settings changed", "error"]
    rows, values = [], []
    for cell in bench.plan.cells:
        found = bench.result(cell)
        if found is None:
            continue
        values.append({name: value for name, value in found.items() if name not in _LONG})
        rows.append(
            [
                cell.kind,
                cell.method,
                str(cell.labels),
                str(cell.seed),
                "" if cell.trial is None else str(cell.trial),
                str(found.get("unlabelled", "")),
                str(found.get("foreign", "")),
                "" if cell.damaged_share is None else f"{cell.damaged_share:g}",
                _outcome(found, "validation_auroc"),
                "" if cell.kind == "trial" else _outcome(found, "auroc"),
                f"{found['seconds']:.1f}",
                _values(found["values"]),
                found.get("error", ""),
            ]
        )
    yield "<h2>Every training</h2>"
    table = _table("trainings", head, rows, numbers_from=2, numbers_to=11)
    yield f"<details><summary>{len(rows)} trainings</summary>{table}</details>"
    text = json.dumps(values, ensure_ascii=True).replace("<", "\\u003c")
    yield f'<script type="application/json" id="cells">{text}</script>'


def _outcome(found: dict[str, Any] | None, name: str) -> str:
    if found is None:
        return "not done yet"
    return f"{found[name]:.4f}" if found["state"] == "done" else "failed"


def _values(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _score(here: Sequence[PointScores]) -> str:
    if not here or here[0].spread is None:
        return "failed" if here and here[0].failed else "not done yet"
    each = here[0]
    lacking = f", {each.failed} failed" if each.failed else ""
    lacking += f", {each.missing} to do" if each.missing else ""
    return _spread(here[0].spread) + lacking


def _spread(each: Spread | None) -> str:
    if each is None:
        return ""
    if each.sd is None or each.low is None or each.high is None:
        return f"{each.mean:.4f} (n = 1)"
    low, high = max(each.low, 0.0), min(each.high, 1.0)  # Student's interval knows no bounds, AUROC does
    return f"{each.mean:.4f} ± {each.sd:.4f} [{low:.3f}, {high:.3f}] n = {each.n}"


def _table(
    name: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int = 10**6, numbers_to: int = 10**6
) -> str:
    kind = ['class="n"' if numbers_from <= n < numbers_to else "" for n in range(len(head))]
    top = "".join(f"<th {k}>{escape(each)}</th>" for k, each in zip(kind, head, strict=True))
    inner = "".join(
        "<tr>" + "".join(f"<td {k}>{escape(each)}</td>" for k, each in zip(kind, row, strict=True)) + "</tr>"
        for row in rows
    )
    start = f"<thead><tr>{top}</tr></thead>" if any(head) else ""
    return f'<div class="scroll"><table id="{name}">{start}<tbody>{inner}</tbody></table></div>'
