"""Table and plot of what `benchmarks.accuracy` measured: `python -m benchmarks.accuracy_report --name default`.

"closed" is the share of what the bar (frozen Lite0 features + logistic regression) lacks to 1 that an algorithm closes,
(AUROC - bar) / (1 - bar) of the means over seeds, averaged over the events.
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from benchmarks.accuracy import ALGORITHMS, WORK, read_rows

mpl.use("Agg")


BAR = "frozen-lite0"
COLOURS = {
    "supervised-weak": "#999999",
    "supervised-strong": "#555555",
    "mixmatch": "#e08a00",
    "fixmatch": "#d1495b",
    "frozen-random-post": "#9ecae1",
    "frozen-random": "#4a90c2",
    "frozen-lite0": "#1b5e8c",
    "frozen-start": "#0b2f4a",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=WORK / "accuracy.jsonl")
    parser.add_argument("--name", default="default")
    parser.add_argument("--plot", type=Path, help="a PNG file")
    parser.add_argument("--digits", type=int, default=3)
    arguments = parser.parse_args()
    rows = pd.DataFrame(row for row in read_rows(arguments.results) if row["name"] == arguments.name)
    print(markdown(rows, arguments.digits))
    if arguments.plot:
        draw(rows, arguments.plot)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean, sd and count over seeds of AUROC, median seconds; indexed by algorithm, event, labels a class."""
    grouped = rows.groupby(["algorithm", "event", "labels"])
    return grouped.agg(
        mean=("auroc", "mean"), sd=("auroc", "std"), seeds=("auroc", "size"), seconds=("seconds", "median")
    )


def closed(rows: pd.DataFrame, algorithm: str, labels: int) -> float | None:
    """Share of what the bar lacks to 1 that the algorithm closes, over events and seeds with both; None without any."""
    each = rows[rows["labels"] == labels].pivot_table(index=["event", "seed"], columns="algorithm", values="auroc")
    if algorithm not in each or BAR not in each:
        return None
    means = pd.DataFrame({"own": each[algorithm], "bar": each[BAR]}).dropna().groupby("event").mean()
    return float(((means["own"] - means["bar"]) / (1 - means["bar"])).mean()) if len(means) else None


def markdown(rows: pd.DataFrame, digits: int = 3) -> str:
    """A row an algorithm, a column an event and number of labels a class: mean ± sd; the best of a column in bold."""
    table = summary(rows)
    budgets = sorted(set(rows["labels"]))
    columns = sorted({(event, labels) for _, event, labels in table.index})
    best = {column: table.xs(column, level=["event", "labels"])["mean"].max() for column in columns}
    lines = [
        "| Algorithm | "
        + " | ".join(f"{event}, {labels}" for event, labels in columns)
        + "".join(f" | closed at {labels}" for labels in budgets)
        + " | seconds a run | seeds |",
        "|---|" + "---|" * (len(columns) + len(budgets) + 2),
    ]
    for algorithm in ordered(rows):
        cells = []
        for column in columns:
            if (algorithm, *column) not in table.index:
                cells.append("–")
                continue
            found = table.loc[(algorithm, *column)]
            text = f"{found['mean']:.{digits}f} ± {found['sd']:.{digits}f}"
            cells.append(f"**{text}**" if found["mean"] == best[column] else text)
        for labels in budgets:
            share = closed(rows, algorithm, labels)
            cells.append("" if share is None else f"{share:+.2f}")
        own = table.xs(algorithm, level="algorithm")
        lines.append(
            f"| {algorithm} | " + " | ".join(cells) + f" | {own['seconds'].median():.0f} | {own['seeds'].min()} |"
        )
    return "\n".join(lines)


def ordered(rows: pd.DataFrame) -> list[str]:
    found = set(rows["algorithm"])
    return [name for name in (*ALGORITHMS, *sorted(found - set(ALGORITHMS))) if name in found]


def draw(rows: pd.DataFrame, path: Path) -> None:
    """AUROC a seed (points) and their mean (bar), a panel an event."""
    from matplotlib import pyplot as plt

    events, budgets = sorted(set(rows["event"])), sorted(set(rows["labels"]))
    algorithms = ordered(rows)
    figure, panels = plt.subplots(1, len(events), figsize=(6.5 * len(events), 4.6), squeeze=False, layout="constrained")
    for panel, event in zip(panels[0], events, strict=True):
        here = rows[rows["event"] == event]
        for place, algorithm in enumerate(algorithms):
            for offset, labels in enumerate(budgets):
                values = here[(here["algorithm"] == algorithm) & (here["labels"] == labels)]["auroc"].to_numpy()
                x = place + (offset - (len(budgets) - 1) / 2) * 0.38
                if len(values):
                    panel.bar(
                        x, values.mean(), 0.34, color=COLOURS.get(algorithm, "#6a8f5a"), alpha=0.45 + 0.5 * offset
                    )
                    panel.plot(np.full(len(values), x), values, ".", color="black", markersize=4)
        panel.set_xticks(range(len(algorithms)), algorithms, rotation=35, ha="right")
        panel.set_ylim(max(0.4, here["auroc"].min() - 0.05), 1.0)
        panel.set_title(f"{event} (paler: {budgets[0]} labels a class, fuller: {budgets[-1]})", fontsize=10)
        panel.set_ylabel("AUROC on held-out blocks")
        panel.grid(axis="y", alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
