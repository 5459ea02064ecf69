"""The report: two pages of A4 as PDF, one to look at and one to read before a number of it is quoted.

Laid out with fpdf2 and shaped with HarfBuzz (uharfbuzz), so that Arabic joins, runs from right to left and can be
selected. Looked at and not used: matplotlib's PdfPages (no flowing text, no table, shaping only from 3.11 on),
WeasyPrint (needs Pango from the system), ReportLab (its shaping of Arabic is a separate, unkept package).
"""

import io
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

from damage_ssl.files import atomic_path
from damage_ssl.products.handover.facts import HandoverFacts
from damage_ssl.products.handover.overview import map_bounds
from damage_ssl.products.handover.report_map import MapFrame, draw_inset, draw_over, draw_scale, map_picture
from damage_ssl.products.handover.report_page import INK, MARGIN, RED, SOFT, WIDTH, ReportPage
from damage_ssl.products.handover.template import Template, read_template
from damage_ssl.products.handover.wording import Section, Wording, wording_of
from damage_ssl.products.map_style import NO_RESULT, NOT_ASSESSED

_BOTTOM = 283.0
_INSET_MM, _SCALE_MM = 42.0, 50.0
_COLUMNS, _ROW_MM = 3, 6.0
"""Of the legend."""
_FITS = ((10.5, 12), (9.5, 12), (9.0, 14), (8.5, 12), (8.0, 10), (7.5, 8), (7.0, 6), (6.0, 4), (5.0, 3))
"""Size of the second page's text in points and how many units its table names, until all of it fits."""


def write_report(path: Path, facts: HandoverFacts) -> None:
    """Write the report of a pack, two pages, atomically.

    Raises:
        InputError: the language or the template cannot be used. StorageError: the disk is full or not writable.
    """
    wording, template = wording_of(facts), read_template(facts.template)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # within fpdf2 and fontTools
        page = ReportPage(wording)
        page.set_creation_date(datetime.fromisoformat(facts.created))
        page.set_creator(f"damage_ssl {facts.version}")
        page.set_author(template.organisation or "damage_ssl")
        _first_page(page, facts, template)
        for size, units in _FITS:
            page.pages.pop(2, None)  # the last try, which was too long
            page.page = 1
            _second_page(page, wording, template, size, units)
            if page.get_y() <= _BOTTOM:
                break
        data = bytes(page.output())
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _first_page(page: ReportPage, facts: HandoverFacts, template: Template) -> None:
    wording = page.wording
    page.add_page()
    beside = _logo(page, template)
    page.put(wording.title, 18, bold=True, **beside)
    page.put(" · ".join(wording.subtitle), 9.5, colour=SOFT, gap=0.5, **beside)
    page.set_y(max(page.get_y() + 2, 24))
    start, bounds = page.get_y(), map_bounds(facts)
    draw_inset(page, bounds, MARGIN if page.rtl else MARGIN + WIDTH - _INSET_MM, start, _INSET_MM, 0.7 * _INSET_MM)
    beside = {"width": WIDTH - _INSET_MM - 4, "x": MARGIN + (_INSET_MM + 4 if page.rtl else 0)}
    page.put(wording.number, 34, bold=True, colour=RED, **beside)
    page.put(wording.number_label, 13, bold=True, **beside)
    if wording.bounds:
        page.put(wording.bounds, 13, bold=True, gap=0.5, **beside)
    page.put(wording.among, 10.5, gap=0.5, **beside)
    page.put(wording.basis, 9, colour=SOFT, gap=0.5, **beside)
    if wording.shown:
        page.put(wording.shown, 9, bold=True, gap=1, **beside)
    top = max(page.get_y(), start + 0.7 * _INSET_MM) + 3
    legend_mm = max(10, _ROW_MM * -(-len(wording.legend) // _COLUMNS)) + 7
    frame = MapFrame.showing(bounds, MARGIN, top, WIDTH, _BOTTOM - 3 - legend_mm - top)
    data = map_picture(facts, frame)
    page.image(io.BytesIO(data), frame.x, frame.y, frame.width, frame.height, alt_text=wording.title)
    draw_over(page, facts, frame)
    page.set_y(frame.y + frame.height + 2)
    draw_scale(page, frame, MARGIN if page.rtl else MARGIN + WIDTH - _SCALE_MM, page.get_y(), _SCALE_MM)
    _legend(page)
    _footer(page, template, 1)


def _logo(page: ReportPage, template: Template) -> dict[str, Any]:
    """The organisation's logo, or its name, in the upper corner; where the title goes beside it."""
    if not (template.logo or template.organisation):
        return {}
    wide = 44.0
    x = MARGIN if page.rtl else MARGIN + WIDTH - wide
    if template.logo:
        page.image(io.BytesIO(template.logo), x, 9, wide, 14, keep_aspect_ratio=True, alt_text=template.organisation)
    else:
        page.set_xy(x, 10)
        page.set_font("letters", "B", 10)
        page.multi_cell(wide, 4.6, page.readable(str(template.organisation)[:90]), align=page.end)
    page.set_y(10)
    return {"width": WIDTH - wide - 4, "x": MARGIN + (wide + 4 if page.rtl else 0)}


def _legend(page: ReportPage) -> None:
    """Colour, name and count of each state, in rows beside the scale."""
    top, column = page.get_y(), (WIDTH - _SCALE_MM - 2) / _COLUMNS
    for at, row in enumerate(page.wording.legend):
        x = MARGIN + column * (at % _COLUMNS)
        x = 2 * MARGIN + WIDTH - column - x if page.rtl else x
        y = top + _ROW_MM * (at // _COLUMNS)
        page.set_fill_color(row.colour)
        page.set_draw_color(70, 80, 90)
        page.set_line_width(0.2)
        hollow = row.key in (NOT_ASSESSED, NO_RESULT)
        page.set_dash_pattern(*((0.6, 0.5) if hollow else (0, 0)))
        page.rect(x + column - 6 if page.rtl else x, y, 6, 3.6, style="D" if hollow else "DF")
        page.set_font("letters", size=8)
        page.set_text_color(*INK)
        page.set_xy(x if page.rtl else x + 7, y - 0.3)
        page.cell(column - 7, 4.2, f"{row.name}: {row.count}", align=page.start)
    page.set_dash_pattern()
    page.set_y(max(top + 10, top + _ROW_MM * -(-len(page.wording.legend) // _COLUMNS)))
    if page.wording.definition:
        page.put(page.wording.definition, 8.5, colour=SOFT)


def _second_page(page: ReportPage, wording: Wording, template: Template, size: float, most_units: int) -> None:
    page.add_page()
    page.put(wording.title, 13, bold=True)
    page.set_y(page.get_y() + 2)
    _totals(page, wording, size, most_units)
    for note in wording.notes[:3]:
        page.put(note, size - 1, colour=SOFT)
    reasons = " · ".join(f"{reason}: {count}" for reason, count in wording.reasons)
    _section(page, wording.not_assessed, size, reasons)
    for part in (wording.sure, wording.not_for, wording.method, wording.images, wording.licence):
        _section(page, part, size)
    for text in (template.disclaimer, template.contact):
        if text:
            page.put(wording.language.inside(text), size, colour=SOFT, gap=1.5)
    end = page.get_y()
    _footer(page, template, 2)
    page.set_y(end)


def _totals(page: ReportPage, wording: Wording, size: float, most_units: int) -> None:
    left = len(wording.units) - most_units
    shown = [*wording.units[:most_units], *wording.event]
    widths = [52, 24, 48, 40, 22]
    turn = (lambda cells: list(cells)[::-1]) if page.rtl else list
    page.set_font("letters", size=size)
    page.set_text_color(*INK)
    page.set_draw_color(190, 198, 206)
    page.set_fill_color(255, 255, 255)
    page.set_line_width(0.15)
    with page.table(
        width=WIDTH,
        col_widths=turn(widths),
        text_align=turn([page.start, "R", "R", "R", "R"]),
        line_height=size * 0.5,
        borders_layout="HORIZONTAL_LINES",
        padding=(0.5, 1),
    ) as table:
        table.row(turn(wording.unit_heads))
        for row in shown:
            page.set_font("letters", "B" if row is wording.event[0] else "", size)
            name = page.readable(row.name, row.unit_id)
            damaged, share = (
                f"{value} ({bounds})" if bounds else value
                for value, bounds in ((row.damaged, row.bounds), (row.share, row.share_bounds))
            )
            table.row(turn([name[:60], row.assessed, damaged, share, row.not_assessed]))
    if left > 0:
        page.put(wording.more_units.format(count=wording.language.number(left)), size - 1, colour=SOFT)


def _section(page: ReportPage, section: Section, size: float, *more: str) -> None:
    page.put(section.title, size + 1.5, bold=True, gap=2.2)
    for line in (*section.lines, *more):
        if line:
            page.put(f"• {line}" if len(section.lines) > 2 else line, size, gap=0.5)


def _footer(page: ReportPage, template: Template, number: int) -> None:
    page.set_y(286)
    organisation = template.organisation and page.wording.language.inside(template.organisation)
    parts = [organisation, page.wording.licence.lines[-1], f"{number} / 2"]
    page.put(" · ".join(part for part in parts if part), 7, colour=SOFT)
