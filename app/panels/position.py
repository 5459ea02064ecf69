"""Where the images lie against the footprints and against each other, and the analyst's word on it."""

import streamlit as st

from app.components.widgets import facts, note
from app.jobs import event_jobs
from app.state.event_view import ROLES, EventView
from app.state.legend import date_text
from damage_ssl.damage_scale import Reason
from damage_ssl.errors import DamageSSLError
from damage_ssl.imagery.scene import Role, Scene
from damage_ssl.registration.event_registration import median_shift_m, typical_shift_m
from damage_ssl.registration.manual_shift import ManualShift, read_manual_shifts, set_manual_shift

_MEANING = {
    "pre": "Outlines drawn on another image lie beside the buildings: say how far they must move to lie on them.",
    "post": "The post image lies beside the pre image: say how far, so that it is moved back before comparing.",
}
_TITLES: dict[Role, str] = {"pre": "Outlines against pre", "post": "Post against pre"}


def position(view: EventView) -> None:
    """The shift of each scene as measured or set by hand; a form to set one, which cuts the pictures again.

    Before anything is cut there is nothing measured: what is set then shows on the map at once.
    """
    cut = view.index is not None
    if view.index is not None and "footprint_shift_x_m" not in view.index:
        return
    scenes = {scene.scene_id: scene for role in ROLES for scene in view.scenes[role]}
    manual_shifts = read_manual_shifts(view.event, scenes.values())
    with st.expander("Position of the images", key="position"):
        if rows := _overview(view, manual_shifts):
            facts(rows)
        chosen = st.selectbox(
            "Image",
            list(scenes),
            format_func=lambda name: _scene_name(scenes[name], name in manual_shifts),
            key="nudge-scene",
        )
        scene = scenes[chosen]
        east_m, north_m = (0.0, 0.0) if view.index is None else median_shift_m(view.index, scene)
        kept = manual_shifts.get(chosen)
        if cut:
            facts([("Set by hand" if kept else "Measured, on average", _shift_text(east_m, north_m))])
        elif kept:
            facts([("Set by hand", _shift_text(kept.east_m, kept.north_m))])
        else:
            note("Small shifts are measured and undone by the preparation. Set one only where that would not find it.")
        note(_MEANING[scene.role])
        left, right = st.columns(2)
        start = kept or ManualShift(round(east_m, 1), round(north_m, 1))
        left.number_input("Metres east", -200.0, 200.0, start.east_m, step=0.5, format="%.1f", key=f"east-{chosen}")
        right.number_input("Metres north", -200.0, 200.0, start.north_m, step=0.5, format="%.1f", key=f"north-{chosen}")
        st.button(
            "Set, and cut the pictures again" if cut else "Set, and show it on the map",
            width="stretch",
            key="nudge",
            on_click=_set,
            args=(view, chosen, True),
        )
        if kept is not None:
            st.button(
                "Back to what is measured" if cut else "Take it back",
                width="stretch",
                key="no-nudge",
                on_click=_set,
                args=(view, chosen, False),
            )
        if error := st.session_state.pop("nudge-error", None):
            st.error(error)


def _set(view: EventView, scene_id: str, by_hand: bool) -> None:
    form = st.session_state
    try:
        manual_shift = (
            ManualShift(float(form[f"east-{scene_id}"]), float(form[f"north-{scene_id}"])) if by_hand else None
        )
        if view.index is not None:
            event_jobs.refuse_beside(
                view.event, *event_jobs.ALL_WORK
            )  # before the shift is kept: that work would not know it
        set_manual_shift(view.event, scene_id, manual_shift)
        if view.index is not None:
            event_jobs.start_preparation(view.event)
    except (DamageSSLError, OSError) as error:
        form["nudge-error"] = str(error)


def _overview(view: EventView, manual_shifts: dict[str, ManualShift]) -> list[tuple[str, str]]:
    """One line a side, and how many buildings have no trusted position."""
    rows: list[tuple[str, str]] = []
    if view.index is not None:
        for role, title in _TITLES.items():
            length_m = typical_shift_m(view.index, role)
            rows.append((title, "not known" if length_m is None else f"{length_m:.1f} m typically"))
        if misaligned := view.not_assessed.get(Reason.MISALIGNED, 0):
            rows.append(("No trusted position", f"{misaligned:,} building{'' if misaligned == 1 else 's'}"))
    if manual_shifts:
        rows.append(("Set by hand", f"{len(manual_shifts):,} image{'' if len(manual_shifts) == 1 else 's'}"))
    return rows


def _shift_text(east_m: float, north_m: float) -> str:
    east = f"{abs(east_m):.1f} m {'west' if east_m < 0 else 'east'}"
    north = f"{abs(north_m):.1f} m {'south' if north_m < 0 else 'north'}"
    return f"{east}, {north}"


def _scene_name(scene: Scene, by_hand: bool) -> str:
    mark = " · set by hand" if by_hand else ""
    return f"{scene.role.capitalize()} {date_text(scene.datetime)} · {scene.scene_id}{mark}"
