"""Reading the event that the page opens first while the server starts, so that nobody waits for a large one."""

import gc
import logging
import threading

from app.state.configuration import workspace_path
from app.state.event_view import ROLES, view_of
from app.state.map_assessment import assessment_of
from app.state.shown_models import shown_models
from damage_ssl.errors import DamageSSLError
from damage_ssl.events.event import list_events

_LOG = logging.getLogger(__name__)


def warm_in_background() -> threading.Thread:
    """Begin, and let the server start meanwhile; the page then waits for what is still missing only."""
    thread = threading.Thread(target=_warm_and_keep, name="warm", daemon=True)
    thread.start()
    return thread


def _warm_and_keep() -> None:
    """What is loaded by then stays: the collection of garbage that Streamlit asks for after every run of the page, 80
    ms in which nobody is served, need not look at it again."""
    warm()
    gc.freeze()


def warm() -> None:
    """Read the first event of the list, its shown model and its labels into the caches of the pages and routes."""
    try:
        names = list_events(workspace_path())
        if not names:
            return
        view = view_of(names[0])
        model = next(iter(shown_models(view)), None)
        assessment_of(view, model)
        for role in ROLES:
            _ = view.places[role].on_map
    except DamageSSLError as error:
        _LOG.warning("%s", error)  # the page says it again when the event is opened
