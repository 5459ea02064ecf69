"""How much processor time short commands take, beside Python that does nothing: user and system, medians of five.

    python -m benchmarks.startup WORKSPACE EVENT

The event should have patches, labels and a finished run, so that every part of `status` and `label next` has work.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys

RUNS = 5


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of one run of Python with these arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace")
    parser.add_argument("event")
    given = parser.parse_args()
    at = ["--workspace", given.workspace]
    commands = {
        "python -c pass": ["-c", "pass"],
        "import damage_ssl": ["-c", "import damage_ssl"],
        "damage-ssl --help": ["-m", "damage_ssl", "--help"],
        "damage-ssl status": ["-m", "damage_ssl", "status", given.event, *at],
        "damage-ssl label next": ["-m", "damage_ssl", "label", "next", given.event, *at],
    }
    for arguments in commands.values():  # compiles what is not compiled yet, and fills the disk cache
        cpu_seconds(arguments)
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):  # in turns, so that a busy moment of the machine strikes all alike
        for name, arguments in commands.items():
            found[name].append(cpu_seconds(arguments))
    print(json.dumps({name: round(statistics.median(seconds), 3) for name, seconds in found.items()}, indent=2))


if __name__ == "__main__":
    main()
