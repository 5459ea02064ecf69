"""All that report and offline map say of a map, in its language, so that both say the same.

Sentences are put together here from numbers, codes and dates; free text of others (validation, method, notes, credits)
goes out as it was given, in English.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from damage_ssl.damage_scale import REASON_WORDS, SCHEMES, reason_words
from damage_ssl.evaluation.total import Total
from damage_ssl.imagery.scene import Scene
from damage_ssl.languages import Language, language_named, translator
from damage_ssl.products.handover.facts import HandoverFacts
from damage_ssl.products.map_style import LEGEND, NO_RESULT, NOT_ASSESSED, legend_key

Say = Callable[[str], str]

_MOST_SCENES = 3
_UNKNOWN = (NOT_ASSESSED, NO_RESULT)
_LEGEND_ORDER = (*(key for key in reversed(list(LEGEND)) if key not in _UNKNOWN), *_UNKNOWN)
_HAZARDS = (
    "conflict", "cyclone", "earthquake", "explosion", "fire", "flood", "hurricane", "landslide", "storm", "tornado",
    "tsunami", "volcano", "wildfire", "wind",
)  # fmt: skip


def looked_up_texts() -> list[str]:
    """The texts that are translated by value, beside those that stand in the code: classes, reasons, definitions."""
    texts = [entry.title for entry in LEGEND.values()] + list(REASON_WORDS.values()) + list(_HAZARDS)
    return texts + [scheme.statement for scheme in SCHEMES.values()]


@dataclass(frozen=True)
class LegendRow:
    """A state of buildings: its key in `map_style.LEGEND`, its name, colour `#rrggbb` and how many are shown in it."""

    key: str
    name: str
    colour: str
    count: str


@dataclass(frozen=True)
class UnitRow:
    """A unit or a grade in the table of totals, its numbers as they are printed; no bounds are an empty text."""

    unit_id: str | None
    name: str
    assessed: str
    damaged: str
    bounds: str
    share: str
    share_bounds: str
    not_assessed: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Wording:
    """What is said, in the order in which it is read.

    `number` with its `number_label` is the headline, `bounds` how far off it may be, `among` of how many, `basis` what
    it rests on; `shown` is None where every building is shown. `units` are of the table with the heads `unit_heads`,
    then `event` with its grades; `reasons` are what was not assessed, with counts.
    """

    language: Language
    title: str
    subtitle: tuple[str, ...]
    number: str
    number_label: str
    bounds: str | None
    among: str
    basis: str
    shown: str | None
    legend: tuple[LegendRow, ...]
    legend_title: str
    definition: str | None
    unit_heads: tuple[str, ...]
    units: tuple[UnitRow, ...]
    event: tuple[UnitRow, ...]
    notes: tuple[str, ...]
    more_units: str
    not_assessed: Section
    reasons: tuple[tuple[str, str], ...]
    sure: Section
    not_for: Section
    method: Section
    images: Section
    licence: Section


def wording_of(facts: HandoverFacts) -> Wording:
    """The words of a map.

    Raises:
        InputError: there is no catalogue of its language.
    """
    language, _ = language_named(facts.language), translator(facts.language)
    total = facts.totals.total
    number, label, bounds, basis = _headline(total, language, _)
    drawn = int(facts.table["damaged"].eq(True).fillna(False).sum())
    if total.damaged is not None and drawn not in (total.damaged, total.model_count):
        basis += " " + _("The map draws {count} as damaged: where people answered, that counts.").format(
            count=language.number(drawn)
        )
    among = _("of {assessed} assessed buildings; {left} more could not be assessed").format(
        assessed=language.number(total.assessed), left=language.number(total.not_assessed)
    )
    return Wording(
        language=language,
        title=_("Building damage: {place}").format(place=language.inside(facts.event_name)),
        subtitle=tuple(_subtitle(facts, language, _)),
        number=number,
        number_label=label,
        bounds=bounds,
        among=among,
        basis=basis,
        shown=_shown(facts, language, _),
        legend=_legend(facts, language, _),
        legend_title=_("Buildings on this map"),
        definition=None if facts.scheme is None else _sentence(_(facts.scheme.statement)),
        unit_heads=(_("Area"), _("Assessed"), _("Damaged"), _("Share"), _("Not assessed")),
        units=tuple(_unit_row(each, language, _) for each in _by_damage(facts.totals.units)),
        event=(_unit_row(total, language, _), *_grade_rows(facts.totals.grades, language, _)),
        notes=tuple(
            dict.fromkeys(language.inside(f"{each.name}: {each.note}") for each in facts.totals.units if each.note)
        ),
        more_units=_("and {count} more areas, which stand in the other files of this pack"),
        not_assessed=Section(_("Not assessed, and why"), _not_assessed(total, language, _)),
        reasons=_reasons(facts, language, _),
        sure=Section(_("How sure is this?"), tuple(_sure(facts, language, _))),
        not_for=Section(_("What not to use it for"), _not_for(_)),
        method=Section(_("How it was made"), tuple(_method(facts, language, _))),
        images=Section(_("Images"), tuple(_images(facts, language, _))),
        licence=Section(_("Licence and sources"), tuple(_licence(facts, language, _))),
    )


def _headline(total: Total, language: Language, _: Say) -> tuple[str, str, str | None, str]:
    n = language.number
    if total.damaged is None:
        return "?", _("damaged buildings: too few answers to say"), None, _("Nobody can say yet how many it is.")
    if total.damaged_low is None or total.damaged_high is None:
        label = (
            _("buildings called damaged by people")
            if total.model_count is None
            else _("buildings flagged as damaged by the computer model")
        )
        basis = _("This is a count, not an estimate: how far off it may be is not known, because no random sample was "
                  "checked.")  # fmt: skip
        return n(total.damaged), label, None, basis
    bounds = _("95 % sure: between {low} and {high}").format(low=n(total.damaged_low), high=n(total.damaged_high))
    basis = _("Estimated from {answers} answers by people on randomly drawn buildings.").format(
        answers=n(total.answers)
    )
    if total.model_count is not None:
        basis += " " + _("The computer model alone flags {count}.").format(count=n(total.model_count))
    return n(total.damaged), _("damaged buildings (estimate)"), bounds, basis


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _subtitle(facts: HandoverFacts, language: Language, _: Say) -> list[str]:
    parts = [_(facts.hazard).capitalize()] if facts.hazard else []
    columns = (("pre_datetime", _("before: {dates}")), ("post_datetime", _("after: {dates}")))
    for (column, said), scenes in zip(columns, (facts.pre_scenes, facts.post_scenes), strict=True):
        days = {f"{scene.datetime:%Y-%m-%d}" for scene in scenes if scene.datetime is not None}
        if not scenes and column in facts.table:
            days = set(facts.table[column].dropna().astype(str).str[:10])
        parts.append(said.format(dates=language.inside(_span(sorted(days), _))))
    return parts


def _span(days: Sequence[str], _: Say) -> str:
    return _("date unknown") if not days else days[0] if len(days) == 1 else f"{days[0]} – {days[-1]}"


def _shown(facts: HandoverFacts, language: Language, _: Say) -> str | None:
    shown, everything = len(facts.rows), len(facts.table)
    if shown == everything:
        return None
    return _("Only {shown} of {all} buildings are shown: {filter}. Totals are of all buildings.").format(
        shown=language.number(shown), all=language.number(everything), filter=language.inside(facts.selection_words)
    )


def _legend(facts: HandoverFacts, language: Language, _: Say) -> tuple[LegendRow, ...]:
    classes = facts.table["damage_class"].to_numpy(object)[facts.rows]
    assessed = facts.table["assessed"].to_numpy(bool)[facts.rows]
    counts = dict.fromkeys(LEGEND, 0)
    for name in set(classes.tolist()):
        mine = classes == name if isinstance(name, str) else [not isinstance(each, str) for each in classes]
        for state in (True, False):
            counts[legend_key(name if isinstance(name, str) else None, assessed=state)] += int(
                (mine & (assessed == state)).sum()
            )
    return tuple(
        LegendRow(key, _(entry.title), entry.colour, language.number(counts[key]))
        for key, entry in sorted(LEGEND.items(), key=lambda each: _LEGEND_ORDER.index(each[0]))
        if counts[key] or (facts.scheme is not None and key in facts.scheme.class_names)
    )


def _by_damage(units: Sequence[Total]) -> list[Total]:
    return sorted(units, key=lambda unit: (-(unit.damaged if unit.damaged is not None else -1), unit.name))


def _unit_row(total: Total, language: Language, _: Say) -> UnitRow:
    n = language.number
    damaged, share, bounds, share_bounds = "–", "–", "", ""
    if total.damaged is not None:
        damaged, share = n(total.damaged), "–" if total.share is None else f"{100 * total.share:.0f}\u00a0%"
        if total.damaged_low is not None and total.damaged_high is not None and total.assessed:
            bounds = f"{n(total.damaged_low)}–{n(total.damaged_high)}"
            low, high = total.damaged_low / total.assessed, total.damaged_high / total.assessed
            share_bounds = f"{100 * low:.0f}–{100 * high:.0f}\u00a0%"
    elif total.assessed:
        damaged = _("too few answers")
    name = total.name if total.unit_id is not None else _("Whole event")
    return UnitRow(total.unit_id, name, n(total.assessed), damaged, bounds, share, share_bounds, n(total.not_assessed))


def _grade_rows(grades: Sequence[Total], language: Language, _: Say) -> list[UnitRow]:
    """How many are of each grade, below a head of their own: what stands there are no damaged buildings."""
    rows = [UnitRow(None, _("By grade"), "", _("Buildings"), "", _("Share"), "", "")] if grades else []
    for grade in grades:
        row = _unit_row(grade, language, _)
        name = f"– {_(LEGEND[grade.name].title) if grade.name in LEGEND else grade.name}"
        rows.append(replace(row, unit_id=None, name=name, assessed="", not_assessed=""))
    return rows


def _not_assessed(total: Total, language: Language, _: Say) -> tuple[str, ...]:
    if not total.not_assessed:
        return (_("Every building was assessed."),)
    return (
        _("{count} buildings could not be judged. They may be damaged or not: nobody knows.").format(
            count=language.number(total.not_assessed)
        ),
    )


def _reasons(facts: HandoverFacts, language: Language, _: Say) -> tuple[tuple[str, str], ...]:
    left = facts.table.loc[~facts.table["assessed"].to_numpy(bool), "not_assessed_reason"]
    counts = left.fillna("not_stated").value_counts()
    return tuple((_(reason_words(str(reason))), language.number(int(count))) for reason, count in counts.items())


def _sure(facts: HandoverFacts, language: Language, _: Say) -> list[str]:
    total = facts.totals.total
    lines = []
    if total.damaged is None or total.damaged_low is None:
        lines.append(_("The total is a count without bounds. Ask for a random check before you quote it."))
    else:
        lines.append(_("The bounds hold in 95 of 100 such estimates; in 5 the true number lies outside them."))
    if any(unit.damaged_low is None for unit in facts.totals.units):
        lines.append(_("Areas with too few answers have no bounds, or no number at all."))
    if facts.statement:
        lines.append(language.inside(facts.statement))
    lines.append(_("A single building can be wrong even where the total is right."))
    return lines


def _not_for(_: Say) -> tuple[str, ...]:
    return (
        _("Do not decide on one house by this map alone, and do not enter a building because it is called intact."),
        _("Do not read “not assessed” as undamaged."),
        _("Damage that does not show from above (walls, cracks, water inside) is not in it."),
        _("Do not add it to or compare it with counts that define damage differently."),
        _("It is no proof for insurance, compensation or a court."),
    )


def _method(facts: HandoverFacts, language: Language, _: Say) -> list[str]:
    lines = [
        _("Each building outline was compared in an image from before and one from after. A computer model learned "
          "from a few buildings that people judged, and judged the others. Where people answered, that counts."),
    ]  # fmt: skip
    lines.append(
        _("Technical name: {method}; run {run}.").format(
            method=language.inside(facts.method), run=language.inside(facts.run_id or "–")
        )
    )
    return lines


def _images(facts: HandoverFacts, language: Language, _: Say) -> list[str]:
    lines = [
        _("Before: {scenes}").format(scenes=_scenes(facts.pre_scenes, language, _)),
        _("After: {scenes}").format(scenes=_scenes(facts.post_scenes, language, _)),
    ]
    known = [scene.scene_id for scene in (*facts.pre_scenes, *facts.post_scenes)]
    return lines + [language.inside(line) for line in facts.imagery if not any(scene_id in line for scene_id in known)]


def _scenes(scenes: Sequence[Scene], language: Language, _: Say) -> str:
    said = [
        language.comma.join([
            language.inside(f"{scene.datetime:%Y-%m-%d}") if scene.datetime is not None else _("date unknown"),
            *([language.inside(scene.sensor)] if scene.sensor else []),
            _("{size} m a pixel").format(size=f"{scene.gsd_m:.2f}"),
        ])
        for scene in scenes
    ]  # fmt: skip
    said = list(dict.fromkeys(said))
    more = len(said) - _MOST_SCENES
    return " · ".join(said[:_MOST_SCENES] + ([_("and {count} more").format(count=more)] if more > 0 else [])) or "–"


def _licence(facts: HandoverFacts, language: Language, _: Say) -> list[str]:
    sources = sorted(facts.table["footprint_source"].dropna().astype(str).unique())[:6]
    stated = language.inside(facts.licence) if facts.licence else _("not stated: ask the sender before you publish it")
    return [
        _("Licence: {licence}").format(licence=stated),
        *([_("Building outlines: {sources}").format(sources=language.inside(", ".join(sources)))] if sources else []),
        _("Made with damage_ssl {version} on {day}.").format(
            version=language.inside(facts.version), day=language.inside(facts.created[:10])
        ),
    ]


def interface_words(_: Say) -> dict[str, str]:
    """What the offline map's buttons and facts of a building are called, by their name in its script."""
    return {
        "search": _("Find a building by its id"),
        "notFound": _("No building with this id is drawn here"),
        "before": _("Before"),
        "after": _("After"),
        "swipe": _("Swipe"),
        "swipeLabel": _("Swipe between before and after"),
        "all": _("Show everything"),
        "north": _("North is up"),
        "noImagery": _("The licence does not let the images go out with this map."),
        "model": _("said by the computer model"),
        "analyst": _("said by a person"),
        "rim": _("Dark rim: answered by a person"),
        "score": _("Score of the model (0 to 1)"),
        "threshold": _("called damaged from {threshold}"),
        "why": _("Why not assessed"),
        "size": _("Roof area"),
        "id": _("Building id"),
        "place": _("Place (latitude, longitude)"),
        "comment": _("Comment"),
        "buildings": _("Buildings"),
        "assessed": _("Assessed"),
        "damaged": _("Damaged"),
        "share": _("Share"),
        "notAssessed": _("Not assessed"),
        "flagged": _("Flagged damaged (count of the map)"),
        "unknownDate": _("date unknown"),
        "map": _("Map of the buildings"),
        "ramp": _("damaged share of assessed buildings"),
        "gridNote": _("Too many buildings to draw each: squares count them all, outlines are of damaged ones only."),
        "gridNoteSome": _(
            "Too many buildings to draw each: squares count them all, outlines are of the {count} damaged "
            "ones that the model is surest of."
        ),
    }
