"""What the shell hands over, made fit for typer."""

from collections.abc import Iterator, Sequence

_LISTS = ("--pre", "--post", "--footprints", "--runs")


def spread_path_lists(argv: Sequence[str]) -> list[str]:
    """`--pre a b c` → `--pre a --pre b --pre c`, so that a glob that the shell expanded is one option's value."""
    return list(_spread(argv))


def _spread(argv: Sequence[str]) -> Iterator[str]:
    flag: str | None = None
    values = 0
    for argument in argv:
        if argument.startswith("-"):
            flag = argument if argument in _LISTS else None
            values = 0
        elif flag is not None:
            values += 1
            if values > 1:
                yield flag
        yield argument
