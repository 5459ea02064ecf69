"""The report holds every cell's numbers, opens offline, and claims no more than the intervals."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from damage_ssl.benchmarking import plots
from damage_ssl.benchmarking.bench import Training
from damage_ssl.benchmarking.findings import find, sentences
from damage_ssl.benchmarking.plots import Dot, as_svg, curves, noise
from damage_ssl.benchmarking.report import write_report
from tests.benchmarking.bench_division import FakeTrainer, bench_of


class Page(HTMLParser):
    """Tables by id, as rows of texts; the cells' JSON; every address in the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.links: list[str] = []
        self.script, self.text = "", ""
        self._rows: list[list[str]] = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        if tag == "table":
            self._rows = self.tables.setdefault(values["id"] or "", [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        self._in = tag

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in in ("td", "th"):
            self._rows[-1][-1] += data
        elif self._in == "script":
            self.script += data
        self.text += data


def test_report_holds_the_numbers_of_every_cell(tmp_path: Path) -> None:
    bench = bench_of(tmp_path / "cells", FakeTrainer())
    bench.run()
    write_report(bench, tmp_path / "report.html", event="town <1>", command="damage-ssl benchmark town")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert all(link.startswith("#") for link in page.links)  # within a plot
    assert "http" not in text.replace("http-equiv", "")
    rows = page.tables["trainings"][1:]
    assert len(rows) == len(bench.plan.cells)
    for cell, row in zip(bench.plan.cells, rows, strict=True):
        found = bench.result(cell)
        assert found is not None
        assert row[:4] == [cell.kind, cell.method, str(cell.labels), str(cell.seed)]
        assert row[8] == f"{found['validation_auroc']:.4f}"
        assert row[9] == ("" if cell.kind == "trial" else f"{found['auroc']:.4f}")
    embedded = json.loads(page.script)
    assert [each["method"] for each in embedded] == [cell.method for cell in bench.plan.cells]
    for name, points in bench.plan.points.items():
        if name == "validation":
            continue
        table = {row[0]: row[1:] for row in page.tables[f"experiment-{name}"][1:]}
        for method in bench.plan.settings.methods:
            own = [point for point in points if point.method == method]
            for point, shown in zip(own, table[method], strict=True):
                scores = [found["auroc"] for found in map(bench.result, point.cells) if found]
                assert shown.startswith(f"{np.mean(scores):.4f} ± {np.std(scores, ddof=1):.4f} [")
                assert shown.endswith("n = 3")
    assert [row[0] for row in page.tables["experiment-validation"][1:]] == [
        "10",
        "20",
        str(len(bench.division.validation)),
    ]
    tuning = page.tables["tuning"][1:]
    assert [row[:2] for row in tuning[:3]] == [["supervised-strong", str(n)] for n in range(3)]
    assert sum(row[4] == "chosen" for row in tuning) == 2
    assert text.count("<svg") == 4 + 1  # each with a panel for either method
    assert "Oliver" in page.text


def test_report_of_a_stopped_benchmark_says_so_and_names_failures(tmp_path: Path) -> None:
    bench = bench_of(tmp_path / "cells", FakeTrainer(fails="fixmatch"), experiments=("labels",))
    ticks = iter(range(10_000))
    bench.run(minutes=0.2, clock=lambda: float(next(ticks)))
    write_report(bench, tmp_path / "report.html", event="town", command="")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "Not complete:" in page.text
    assert "ValueError: does <not> learn" in [row[-1] for row in page.tables["trainings"]]


def test_method_with_seeds_to_come_is_not_compared(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, FakeTrainer(), experiments=("labels",))
    bench.run()
    point = next(each for each in bench.plan.points["labels"] if (each.method, each.value) == ("fixmatch", 5))
    bench.path_of(point.cells[0]).unlink()
    again = bench_of(tmp_path, FakeTrainer(), experiments=("labels",))
    said = sentences(again, find(again))
    assert "With 5 labels a class, not compared yet because seeds are missing: fixmatch." in said
    assert not any("fixmatch (" in each for each in said if each.startswith("With 5"))
    assert any("fixmatch (" in each for each in said if each.startswith("With 2"))


@pytest.mark.parametrize(("noise", "verdict"), [(0.0, "no difference shown"), (5.0, "do not overlap")])
def test_the_summary_tells_methods_apart_only_where_their_intervals_are_apart(
    tmp_path: Path, noise: float, verdict: str
) -> None:
    class Two(FakeTrainer):
        """Both right, but for the noise that fixmatch gets."""

        def __call__(self, training: object) -> np.ndarray:
            p = super().__call__(training)  # type: ignore[arg-type]
            grey = training.scored.close.post[:, 0, 0, 0] / 255  # type: ignore[attr-defined]
            poor = training.settings.algorithm == "fixmatch"  # type: ignore[attr-defined]
            return np.asarray(-grey if poor and noise else p * 0.01 + grey)

    bench = bench_of(tmp_path, Two(), experiments=("labels",))
    bench.run()
    findings = write_report(bench, tmp_path / "r.html", event="town", command="")
    said = sentences(bench, findings)
    assert any("best method that uses unlabelled" in each and verdict in each for each in said)
    other = {"no difference shown": "do not overlap", "do not overlap": "no difference shown"}[verdict]
    assert not any(other in each for each in said)


@pytest.mark.parametrize("blind", [False, True])
def test_tuning_on_blocks_that_tell_nothing_is_said_to_be_by_lot(tmp_path: Path, blind: bool) -> None:
    class Upside(FakeTrainer):
        """Ranks the wrong way round where it is told to."""

        def __call__(self, training: Training) -> np.ndarray:
            p = super().__call__(training)
            return -p if blind else p

    bench = bench_of(tmp_path / "cells", Upside(), experiments=("labels",))
    bench.run()
    write_report(bench, tmp_path / "report.html", event="town", command="")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert ("do not tell the settings of supervised-strong, fixmatch apart" in page.text) == blind


def test_the_report_shows_no_auroc_above_one(tmp_path: Path) -> None:
    bench = bench_of(tmp_path / "cells", FakeTrainer(), experiments=("labels",))
    bench.run()
    write_report(bench, tmp_path / "report.html", event="town", command="")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    shown = [cell for row in page.tables["experiment-labels"][1:] for cell in row[1:]]
    assert all(0.0 <= float(end) <= 1.0 for cell in shown for end in cell.split("[")[1].split("]")[0].split(", "))


@pytest.mark.parametrize(("low", "high"), [(0.9982, 0.9991), (0.971, 0.9993), (0.4, 0.97)])
def test_ticks_are_round_and_equally_far_apart_as_they_are_written(low: float, high: float) -> None:
    dots = {"fixmatch": [Dot(1.0, low, None), Dot(2.0, high, None)]}
    figure = curves(dots, x_label="labels", x_names={1.0: "1", 2.0: "2"})
    assert figure is not None
    figure.draw_without_rendering()
    ticks = figure.axes[0].get_yticks()
    written = [float(label.get_text()) for label in figure.axes[0].get_yticklabels()]
    assert written == pytest.approx(ticks, abs=1e-9)
    assert np.ptp(np.diff(ticks)) < 1e-9 and 3 <= len(ticks) <= 12
    assert ticks[0] <= low + (ticks[1] - ticks[0]) and ticks[-1] >= high - (ticks[1] - ticks[0])


def test_each_panel_has_its_own_curve_with_deviations_in_front_of_all_others() -> None:
    dots = {name: [Dot(2.0, y, 0.01), Dot(5.0, y + 0.1, 0.01)] for name, y in (("one", 0.5), ("other", 0.7))}
    figure = curves(dots, x_label="labels", x_names={2.0: "2", 5.0: "5"})
    assert figure is not None
    for axes, (method, own) in zip(figure.axes, dots.items(), strict=True):
        assert axes.get_title(loc="left") == method
        drawn = {line.get_color(): line.get_ydata().tolist() for line in axes.get_lines()}
        assert drawn[plots.BLUE] == [dot.y for dot in own]
        assert drawn[plots.GREY] == [dot.y for name, each in dots.items() if name != method for dot in each]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "5"]
    assert curves({"one": []}, x_label="labels", x_names={}) is None


def test_a_figure_is_the_same_svg_every_time_with_its_text_as_text() -> None:
    one, again = (as_svg(noise([10, 20], [0.05, 0.03], 0.02), "a <set>") for _ in range(2))
    assert one == again and one.startswith('<svg role="img" aria-label="a &lt;set&gt;"')
    assert ">gap of the best two</text>" in one and ">buildings in the validation set</text>" in one
