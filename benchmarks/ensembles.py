"""What averaging runs of different methods gains on real events: from the probabilities that `accuracy --keep` left.

    python -m benchmarks.accuracy --labels 25 --algorithms mixmatch fixmatch supervised-strong frozen-start --keep KEPT
    python -m benchmarks.ensembles KEPT --labels 25 --members mixmatch+fixmatch mixmatch+fixmatch+frozen-start

An ensemble is the mean of its members' probabilities, as in `damage_ssl.runs.ensemble`; members are not calibrated
first, because these runs hold nothing out. Its gain is over the member with the highest mean AUROC on the same draws.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.accuracy import EVENTS, SCHEME, chosen_settings, load_buildings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kept", type=Path)
    parser.add_argument("--events", nargs="+", default=EVENTS)
    parser.add_argument("--labels", type=int, default=25)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--members", nargs="+", required=True, metavar="A+B")
    arguments = parser.parse_args()
    print(
        "| Ensemble | event | members' AUROC | ensemble | gain over the best member, by draw |\n|---|---|---|---|---|"
    )
    for event in arguments.events:
        truth = load_buildings(event, chosen_settings([])[0]).class_index
        for members in arguments.members:
            print(line(arguments, event, members.split("+"), truth))


def line(arguments: argparse.Namespace, event: str, members: list[str], truth: NDArray[np.int64]) -> str:
    """One row of the table."""
    alone = np.empty((len(members), len(arguments.seeds)))
    joint = np.empty(len(arguments.seeds))
    for column, seed in enumerate(arguments.seeds):
        files = [np.load(arguments.kept / f"{event}_{each}_{arguments.labels}_{seed}.npz") for each in members]
        rows = files[0]["test"]
        damaged = np.stack([file["probabilities"][rows, SCHEME.damaged_from :].sum(axis=1) for file in files])
        alone[:, column] = [roc_auc_score(truth[rows], each) for each in damaged]
        joint[column] = roc_auc_score(truth[rows], damaged.mean(axis=0))
    best = alone.mean(axis=1).argmax()
    gains = joint - alone[best]
    said = ", ".join(f"{name} {value:.4f}" for name, value in zip(members, alone.mean(axis=1), strict=True))
    each = ", ".join(f"{gain:+.4f}" for gain in gains)
    return f"| {' + '.join(members)} | {event} | {said} | {joint.mean():.4f} | {gains.mean():+.4f} ({each}) |"


if __name__ == "__main__":
    main()
