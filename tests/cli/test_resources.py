import pytest

from damage_ssl.cli.options import bytes_of, resources_of
from damage_ssl.errors import SettingsError


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("1GB", 10**9),
        ("1 GiB", 2**30),
        ("800mb", 8 * 10**8),
        ("1.5G", 15 * 10**8),
        ("2TB", 2 * 10**12),
        ("250000000", 25 * 10**7),
        ("512KiB", 512 * 1024),
    ],
)
def test_sizes_are_read_with_their_units(size: str, expected: int) -> None:
    assert bytes_of(size) == expected


@pytest.mark.parametrize("size", ["", "GB", "1XB", "-1GB", "much", "1GB2"])
def test_what_is_no_size_is_refused_with_an_example(size: str) -> None:
    with pytest.raises(SettingsError, match=r"is not a size; give a number and a unit, e\.g\. 800MB"):
        bytes_of(size)


def test_less_memory_than_a_process_needs_is_refused() -> None:
    with pytest.raises(SettingsError, match="memory_bytes"):
        resources_of(0, "10MB", None)
    assert resources_of(3, "2GB", "tcp://a:1").workers == 3
