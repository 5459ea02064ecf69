"""The command line: one verb a stage."""

import sys


def main() -> None:
    """Run `damage-ssl` on the process's own arguments and exit with its code."""
    from damage_ssl.progress import reported

    with reported():  # from the first moment: what fails before the command itself is told to who watches, too
        from damage_ssl.cli.root import cli, spread_path_lists
        from damage_ssl.process_limits import limit_if_told

        limit_if_told()

        cli(args=spread_path_lists(sys.argv[1:]), prog_name="damage-ssl")
