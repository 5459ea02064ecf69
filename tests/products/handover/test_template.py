import io
from pathlib import Path

import pytest
from PIL import Image

from damage_ssl.errors import InputError
from damage_ssl.products.handover.template import Template, read_template


def write_logo(folder: Path, size: tuple[int, int] = (900, 300)) -> None:
    Image.new("RGB", size, "navy").save(folder / "logo.png")


def test_a_template_gives_logo_and_wording(tmp_path: Path) -> None:
    (tmp_path / "template.toml").write_text('organisation = "Red Example"\ncontact = "maps@example.org"\n')
    write_logo(tmp_path)
    read = read_template(tmp_path)
    assert (read.organisation, read.contact, read.disclaimer) == ("Red Example", "maps@example.org", None)
    assert read.logo is not None
    assert Image.open(io.BytesIO(read.logo)).size == (480, 160)


def test_no_template_is_an_empty_one() -> None:
    assert read_template(None) == Template()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('organization = "x"', "template.toml: 'organization' is unknown: did you mean 'organisation'"),
        ("contact = 5", "'contact' must be a text"),
        ('contact = "', "is not TOML"),
        (f'disclaimer = "{"x" * 700}"', "has 700 characters; 600 fit"),
    ],
)
def test_wording_that_cannot_be_used_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "template.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_template(tmp_path)


def test_folders_and_logos_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        read_template(tmp_path / "none")
    with pytest.raises(InputError, match="holds neither"):
        read_template(tmp_path)
    (tmp_path / "logo.png").write_bytes(b"GIF89a no picture")
    with pytest.raises(InputError, match="not a picture"):
        read_template(tmp_path)
