"""Draw `docs/architecture.svg`: `python docs/draw_architecture.py`. Plain SVG: a changed word is one changed line."""

from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 1080, 640
ROOM_W, ROOM_H = 172, 84
INK, LINE, PALE, WAY, GROUND = "#1d2a33", "#5b7282", "#eef3f6", "#fdf3dc", "#e4e9ec"

ROW_1, ROW_2 = 160, 345
X = [24 + i * 215 for i in range(5)]

ROOMS = [
    (X[0], ROW_1 - 48, "imagery", "a scene and its quality"),
    (X[0], ROW_1 + 48, "footprints", "clean outlines with ids"),
    (X[1], ROW_1, "mosaic", "both dates on one grid"),
    (X[2], ROW_1, "registration", "shifts measured, undone"),
    (X[3], ROW_1, "patches", "the pair, or a reason"),
    (X[4], ROW_1, "labels", "an append-only log"),
    (X[4], ROW_2, "learning", "views, loss, weights"),
    (X[3], ROW_2, "evaluation", "threshold, metrics, audit"),
    (X[2], ROW_2, "runs", "plan, weights, predictions"),
    (X[1], ROW_2, "products", "one row a building"),
    (X[0], ROW_2, "handover", "pack, card, checks"),
]

ARROWS = [  # from x, y to x, y, word, where the word stands
    (X[0] + ROOM_W, ROW_1 - 6, X[1], ROW_1 + 30, "Scene", -20),
    (X[0] + ROOM_W, ROW_1 + 90, X[1], ROW_1 + 54, "Footprint", 34),
    (X[1] + ROOM_W, ROW_1 + 42, X[2], ROW_1 + 42, "grid", -8),
    (X[2] + ROOM_W, ROW_1 + 42, X[3], ROW_1 + 42, "shift", -8),
    (X[3] + 150, ROW_1 + ROOM_H, X[4] + 30, ROW_2, "Pair", 0),
    (X[4] + 120, ROW_1 + ROOM_H, X[4] + 120, ROW_2, "grade", 0),
    (X[4], ROW_2 + 42, X[3] + ROOM_W, ROW_2 + 42, "p", -8),
    (X[3], ROW_2 + 42, X[2] + ROOM_W, ROW_2 + 42, "p, t", -8),
    (X[2], ROW_2 + 42, X[1] + ROOM_W, ROW_2 + 42, "table", -8),
    (X[1], ROW_2 + 42, X[0] + ROOM_W, ROW_2 + 42, "map", -8),
]

ALL_STEPS = "the steps in order; whatever changes an event goes through here"
BESIDE = (
    "events: an event's folder",
    "detection: footprints where there are none",
    "simulation: towns with known truth",
    "benchmarking: methods compared",
)


def text(x: float, y: float, words: str, size: int = 13, *, anchor: str = "middle", bold: bool = False) -> str:
    """Words at a place."""
    weight = ' font-weight="600"' if bold else ""
    look = f'font-size="{size}" text-anchor="{anchor}" fill="{INK}"{weight}'
    return f'<text x="{x}" y="{y}" {look}>{escape(words)}</text>'


def box(x: float, y: float, w: float, h: float, fill: str) -> str:
    """A rounded rectangle."""
    return f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="7" fill="{fill}" stroke="{LINE}"/>'


def room(x: float, y: float, name: str, what: str) -> list[str]:
    """A room: its name and what it gives."""
    return [
        box(x, y, ROOM_W, ROOM_H, WAY),
        text(x + ROOM_W / 2, y + 34, name, 17, bold=True),
        text(x + ROOM_W / 2, y + 58, what, 12),
    ]


def band(y: float, h: float, title: str, words: str, fill: str) -> list[str]:
    """A box over the whole width."""
    return [
        box(24, y, WIDTH - 48, h, fill),
        text(WIDTH / 2, y + 24, title, 15, bold=True),
        text(WIDTH / 2, y + 45, words, 13),
    ]


def arrow(x0: float, y0: float, x1: float, y1: float, word: str, above: float) -> list[str]:
    """What goes from one room to the next."""
    line = f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="{LINE}" stroke-width="1.6" marker-end="url(#tip)"/>'
    vertical = y1 == ROW_2 and y0 < ROW_2
    return [line, text((x0 + x1) / 2 + (26 if vertical else 0), (y0 + y1) / 2 + (4 if vertical else above), word, 12)]


def drawing() -> str:
    """The whole picture."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" '
        'role="img" aria-label="The rooms of damage_ssl and the way of one building through them">',
        f'<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *band(16, 60, "cli · app · notebooks → workflow", ALL_STEPS, PALE),
    ]
    for place in ROOMS:
        parts += room(*place)
    for each in ARROWS:
        parts += arrow(*each)
    parts += [box(24, 478, WIDTH - 48, 44, PALE), text(WIDTH / 2, 505, "   ·   ".join(BESIDE), 13)]
    ground = "errors · files · progress · settings · damage_scale · grid · geography · parallel"
    parts += [*band(544, 60, "the ground: words and means that all rooms use", ground, GROUND), "</svg>"]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("architecture.svg").write_text(drawing(), encoding="utf-8")
