"""Who sits at this page: by sign-in where the server asks for it, by a typed name otherwise."""

import time
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

import streamlit as st

from app.auth.access import MAX_NAME, RENEW_S, Person, person_of, server
from app.auth.tickets import sealed
from app.components.widgets import note
from damage_ssl.errors import InputError

__all__ = ["UNNAMED", "Person", "admit", "head", "may_write", "name_limit", "take_name", "who", "writers_only"]


P = ParamSpec("P")
R = TypeVar("R")

_ANSWERED = "name-answered"
UNNAMED = "analyst"
"""The name with labels of somebody who gave none."""

_SESSION_JS = """
const told = new Set();
export default function({ data, setStateValue }) {
  if (told.has(data.ticket)) return;
  told.add(data.ticket);
  const method = data.ticket ? 'POST' : 'DELETE';
  const body = data.ticket ? JSON.stringify({ ticket: data.ticket }) : undefined;
  fetch(new URL('ds/session', document.baseURI), { method, body, headers: { 'Content-Type': 'application/json' } })
    .then((answer) => { if (data.ticket) setStateValue(answer.ok ? 'open' : 'refused', Date.now()); })
    .catch(() => told.delete(data.ticket));
}
"""


def who() -> Person:
    """The person at this page. A typed name survives steps and reloads in the page's address.

    `role` is None for somebody who has not signed in where one must, or who has no role here.
    """
    here = server()
    if here.sign_in:
        claims = dict(st.user)
        return person_of(claims, here) if claims.get("is_logged_in") else Person("", None)
    typed = _typed() or UNNAMED
    if st.query_params.get("name", UNNAMED) != typed:
        st.query_params["name"] = typed
    return Person(typed, here.anyone)


def may_write(person: Person) -> bool:
    """True for somebody who may label, train and change events."""
    return person.may_write


def writers_only(function: Callable[P, R]) -> Callable[P, R]:
    """For what changes the workspace: checked again where it happens, whatever a page has shown or forgotten to hide.

    The function then raises InputError for somebody who may only look.
    """

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        here = server()
        person = who() if here.sign_in else Person("", here.anyone)
        if not person.may_write:
            raise InputError("this needs the role of an analyst; you may look, filter and download")
        return function(*args, **kwargs)

    return checked


def admit() -> Person:
    """The person, once they may see the page; until then a screen to sign in, and the page's script stops there."""
    person = who()
    if not server().sign_in:
        return person
    if person.role is None:
        _session_component(None)
        _stay_out(person)
        st.stop()
    _keep_session()
    if "session-open" not in st.session_state:
        with st.container(key="signing-in"):
            note("Signing in…")
        st.stop()
    return person


def head(person: Person) -> None:
    """The line at the top that says who one is: a name to type, or who has signed in with the way out."""
    with st.container(key="person"):
        if not person.signed_in and person.may_write:
            st.session_state.setdefault("labeller", st.query_params.get("name", ""))
            if not st.session_state["labeller"].strip():
                # a browser that has not yet been told the answered name sends the empty field back
                st.session_state["labeller"] = st.session_state.get(_ANSWERED, "")
            st.text_input(
                "You are",
                key="labeller",
                max_chars=MAX_NAME,
                placeholder="Your name",
                icon=":material/person:",
                label_visibility="collapsed",
            )
        elif person.signed_in:
            with st.container(horizontal=True, vertical_alignment="center", key="signed-in"):
                note(f"You are {person.name}")
                st.button("Sign out", key="sign-out", type="tertiary", on_click=st.logout)
        if not person.may_write:
            note("Read-only: look, filter and download.")


def name_limit(person: Person) -> int | None:
    """The most letters of the name that goes with the labels, where it is still to be asked for; else None.

    Asked once, before the first label; who waves it away labels as `analyst`.
    """
    if person.signed_in or not person.may_write or _typed() or st.session_state.get("name-asked"):
        return None
    return MAX_NAME


def take_name(name: str) -> None:
    """What was answered; an empty name is an answer too."""
    st.session_state["name-asked"] = True
    if name := name.strip()[:MAX_NAME]:
        st.session_state["labeller"] = st.session_state[_ANSWERED] = name


def _typed() -> str:
    typed = st.session_state.get("labeller")
    said = str(st.query_params.get("name", "") if typed is None else typed).strip()
    return said or str(st.session_state.get(_ANSWERED, ""))


def _stay_out(person: Person) -> None:
    with st.container(key="sign-in"):
        st.markdown("## damage_ssl")
        if person.signed_in:
            note(f"You have signed in as {person.name}, who has no role on this server.")
            note("Whoever runs it can add you to the file access.toml in its workspace.")
            st.button("Sign out", key="sign-out", on_click=st.logout)
            return
        note("Building damage maps. Sign in to see the events of this server.")
        for provider in server().providers:
            st.button(
                f"Sign in with {provider}" if provider else "Sign in",
                key=f"sign-in-{provider}",
                type="primary",
                icon=":material/login:",
                on_click=st.login,
                args=(provider,) if provider else (),
            )


@st.fragment(run_every=RENEW_S)
def _keep_session() -> None:
    """Give the browser a new ticket while the page is open; somebody who lost their role meanwhile gets none."""
    person = who()
    if person.role is None:
        st.rerun()
    ticket, made = st.session_state.get("session-ticket", ("", 0.0))
    if time.time() - made >= RENEW_S - 1:
        ticket = sealed(person, "ticket", server().secret)
        st.session_state["session-ticket"] = (ticket, time.time())
    state = _session_component(ticket)
    if state.refused and state.refused != st.session_state.get("session-refused"):
        # a ticket that came too late, from a page that slept
        st.session_state["session-refused"] = state.refused
        st.session_state.pop("session-ticket", None)
        st.rerun()
    if state.open and "session-open" not in st.session_state:
        st.session_state["session-open"] = True
        st.rerun()


def _session_component(ticket: str | None) -> Any:
    return _component()(
        key="ds-session", data={"ticket": ticket}, on_open_change=_ignore, on_refused_change=_ignore, height=1
    )


@lru_cache(maxsize=1)
def _component() -> Any:
    return st.components.v2.component("damage_ssl_session", html="<i hidden></i>", js=_SESSION_JS)


def _ignore() -> None:
    """A state value needs a callback to exist; what it says is read from the result."""
