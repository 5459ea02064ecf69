"""A4 pages of the report: its letters, direction of writing, paragraphs and notes (fpdf2, shaped by HarfBuzz)."""

import unicodedata
from pathlib import Path

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from damage_ssl.products.handover.wording import Wording

MARGIN, WIDTH = 12.0, 186.0
"""Of the page, in mm."""
INK, SOFT, RED = (23, 33, 43), (83, 96, 108), (163, 33, 61)
_MOST_CHARACTERS = 420


class ReportPage(FPDF):
    """A page with this report's letters and direction of writing."""

    def __init__(self, wording: Wording) -> None:
        from matplotlib import get_data_path

        super().__init__(format="A4")
        self.wording = wording
        self.rtl = wording.language.right_to_left
        self.start, self.end = ("R", "L") if self.rtl else ("L", "R")
        folder = Path(get_data_path()) / "fonts" / "ttf"
        self.add_font("letters", "", folder / "DejaVuSans.ttf")
        self.add_font("letters", "B", folder / "DejaVuSans-Bold.ttf")
        self.set_text_shaping(True)
        self.set_auto_page_break(False)
        self.set_margins(MARGIN, 10)
        self.set_lang(wording.language.code)
        self.set_title(wording.title)

    def readable(self, text: str, instead: str | None = None) -> str:
        """A text with an empty box for each letter that the font lacks, or another text in its place."""
        known = self.fonts["letters"].cmap  # type: ignore[union-attr]
        lacking = {letter for letter in text if ord(letter) not in known and unicodedata.category(letter) != "Cf"}
        if lacking and instead:
            return instead
        return "".join("□" if letter in lacking else letter for letter in text)

    def put(
        self, text: str, size: float, *, bold: bool = False, colour: tuple[int, int, int] = INK, gap: float = 0.0,
        width: float = WIDTH, x: float = MARGIN,
    ) -> None:  # fmt: skip
        """A paragraph below the last one, from the side where the language begins."""
        self.set_font("letters", "B" if bold else "", size)
        self.set_text_color(*colour)
        self.set_xy(x, self.get_y() + gap)
        short = text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"
        short = f"\u200f{short}" if self.rtl else short  # also where it begins with a name in Latin letters
        self.multi_cell(width, size * 0.46, self.readable(short), align=self.start, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def note(self, x: float, y: float, text: str, *, size: float = 6, centred: bool = False) -> None:
        """A short text on the map, on a pale ground; its upper left corner or its middle at (x, y)."""
        self.set_font("letters", size=size)
        width, height = self.get_string_width(text) + 1, size * 0.42
        x, y = (x - width / 2, y - height / 2) if centred else (x, y)
        with self.local_context(fill_opacity=0.75):
            self.set_fill_color(255, 255, 255)
            self.rect(x, y, width, height, style="F")
        self.set_text_color(*INK)
        self.set_xy(x, y)
        self.cell(width, height, text, align="C")
