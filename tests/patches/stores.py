"""What the extraction's tests look at."""

from pathlib import Path


def content(folder: Path) -> dict[str, bytes]:
    """All files of a store: name and bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
