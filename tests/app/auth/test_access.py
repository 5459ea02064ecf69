"""Who may come in: where the server listens, sign-in, roles, tickets."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from app.auth.access import (
    RENEW_S,
    SESSION_S,
    TICKET_S,
    Person,
    Roles,
    Server,
    is_loopback,
    open_server,
    person_of,
    read_roles,
    server,
    use_server,
)
from app.auth.tickets import sealed, unsealed
from damage_ssl.errors import InputError, SettingsError

AUTH: dict[str, Any] = {
    "redirect_uri": "https://damage.example.org/oauth2callback",
    "cookie_secret": "s" * 32,
    "client_id": "app",
    "client_secret": "secret",
    "server_metadata_url": "https://accounts.example.org/.well-known/openid-configuration",
}
SECRET = b"k" * 32


@pytest.fixture(autouse=True)
def own_server(monkeypatch: pytest.MonkeyPatch):
    for name in ("DAMAGE_SSL_READ_ONLY", "DAMAGE_SSL_HOSTS"):
        monkeypatch.delenv(name, raising=False)
    before = server()
    yield
    use_server(before)


def roles_file(folder: Path, text: str = '[people]\n"ana@example.org" = "analyst"\n') -> Path:
    path = folder / "access.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1", "127.8.9.1", "::1", "[::1]"])
def test_this_machine_alone_needs_no_sign_in(address: str, tmp_path: Path) -> None:
    assert is_loopback(address)
    opened = open_server(address, {}, tmp_path, [])
    assert (opened.sign_in, opened.anyone) == (False, "analyst")


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "::", "192.168.1.7", "damage.example.org", "127.example.org"])
def test_listening_beyond_this_machine_without_sign_in_is_refused(address: str | None, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"(?s)there is no sign-in.*\[auth\]") as refused:
        open_server(address, {}, tmp_path, [])
    assert "access.toml" in str(refused.value)


def test_listening_beyond_this_machine_with_sign_in_is_allowed(tmp_path: Path) -> None:
    roles_file(tmp_path)
    opened = open_server("0.0.0.0", AUTH, tmp_path, [])
    assert opened.sign_in and opened.https
    assert "damage.example.org" in opened.hosts


def test_sign_in_without_a_list_of_people_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"access\.toml: is not there"):
        open_server("0.0.0.0", AUTH, tmp_path, [])


@pytest.mark.parametrize("key", list(AUTH))
def test_incomplete_sign_in_is_refused_and_the_missing_key_named(key: str, tmp_path: Path) -> None:
    roles_file(tmp_path)
    with pytest.raises(SettingsError, match=f"'{key}' is missing"):
        open_server("localhost", {**AUTH, key: ""}, tmp_path, [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"redirect_uri": "https://damage.example.org/"}, "oauth2callback"),
        ({"cookie_secret": "short"}, "shorter than 32"),
        ({"one": {"client_id": "a"}}, r"\[auth\.one\]: 'client_secret' is missing"),
    ],
)
def test_faulty_sign_in_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    roles_file(tmp_path)
    with pytest.raises(SettingsError, match=said):
        open_server("localhost", {**AUTH, **change}, tmp_path, [])


def test_read_only_server_makes_everybody_a_viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_server("localhost", {}, tmp_path, ["--workspace", "x", "--read-only"]).anyone == "viewer"
    monkeypatch.setenv("DAMAGE_SSL_READ_ONLY", "1")
    assert open_server("localhost", {}, tmp_path, []).anyone == "viewer"
    roles_file(tmp_path)
    opened = open_server("localhost", AUTH, tmp_path, [])
    assert person_of({"email": "ana@example.org"}, opened).role == "viewer"


def test_role_is_the_persons_then_the_domains_then_the_default(tmp_path: Path) -> None:
    roles = read_roles(
        roles_file(
            tmp_path,
            'default = "viewer"\n[people]\n"Ana@Example.org" = "viewer"\n[domains]\n"example.org" = "analyst"\n',
        )
    )
    assert roles.role_of("ana@example.org") == "viewer"
    assert roles.role_of("ben@example.org") == "analyst"
    assert roles.role_of("eve@evil-example.org") == "viewer"
    assert Roles(people={"ana@example.org": "analyst"}).role_of("eve@example.org") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[poeple]\n"a@b.c" = "viewer"', "'poeple' is unknown; did you mean 'people'?"),
        ('[people]\n"a@b.c" = "analist"', "role 'analist' is not one of analyst, viewer; did you mean 'analyst'?"),
        ('default = "veiwer"', "did you mean 'viewer'?"),
        ('[people]\n"example.org" = "viewer"', "is not an e-mail address"),
        ('[domains]\n"example.org" = 1', "with quotes on both sides"),
        ('[names]\n"a@b.c" = "Ana"\n"d@b.c" = "Ana"', "'Ana' has to be one person's only"),
        ("[people", "is not a TOML file"),
    ],
)
def test_fault_in_the_list_of_people_is_an_error_that_says_where(text: str, said: str, tmp_path: Path) -> None:
    path = roles_file(tmp_path, text)
    with pytest.raises(SettingsError) as refused:
        read_roles(path)
    assert said in str(refused.value)
    assert str(path) in str(refused.value)


def test_somebody_taken_out_of_the_list_is_out_without_a_restart(tmp_path: Path) -> None:
    path = roles_file(tmp_path)
    opened = open_server("localhost", AUTH, tmp_path, [])
    assert person_of({"email": "ana@example.org"}, opened).role == "analyst"
    path.write_text('[people]\n"ben@example.org" = "viewer"\n', encoding="utf-8")
    assert person_of({"email": "ana@example.org"}, opened).role is None


def test_list_of_people_that_is_gone_lets_nobody_in(tmp_path: Path) -> None:
    path = roles_file(tmp_path, 'default = "analyst"\n')
    opened = open_server("localhost", AUTH, tmp_path, [])
    path.unlink()
    assert person_of({"email": "ana@example.org"}, opened).role is None


def test_unverified_address_gives_no_right(tmp_path: Path) -> None:
    roles_file(tmp_path)
    opened = open_server("localhost", AUTH, tmp_path, [])
    for unverified in (False, "false"):
        person = person_of({"email": "ana@example.org", "email_verified": unverified, "sub": "7"}, opened)
        assert person.role is None
        assert person.name == "unnamed (7)"


def test_labels_carry_the_address_or_the_name_agreed_for_it(tmp_path: Path) -> None:
    roles_file(tmp_path, 'default = "analyst"\n[names]\n"ana@example.org" = "Ana S."\n')
    opened = open_server("localhost", AUTH, tmp_path, [])
    assert person_of({"email": "Ana@example.org", "name": "Boss"}, opened).name == "Ana S."
    assert person_of({"email": "ben@example.org", "name": "Ana S."}, opened).name == "ben@example.org"


ANA = Person("Ana", "analyst", signed_in=True)


def test_token_says_who_it_was_made_for() -> None:
    token = sealed(Person("Ána <b>", "viewer", signed_in=True), "session", SECRET)
    assert unsealed(token, "session", SECRET) == Person("Ána <b>", "viewer", signed_in=True)


def test_token_of_another_secret_kind_or_time_is_worth_nothing() -> None:
    ticket = sealed(ANA, "ticket", SECRET, now=1000.0)
    assert unsealed(ticket, "ticket", SECRET, now=1000.0 + TICKET_S - 1) == ANA
    assert unsealed(ticket, "ticket", SECRET, now=1000.0 + TICKET_S) is None
    assert unsealed(ticket, "session", SECRET, now=1000.0) is None
    assert unsealed(ticket, "ticket", b"other" * 8, now=1000.0) is None


def test_forged_token_is_worth_nothing() -> None:
    token = sealed(Person("Ana", "viewer", signed_in=True), "session", SECRET)
    body, made, signature = token.split(".")
    better = base64.urlsafe_b64encode(json.dumps(["Ana", "analyst"]).encode()).decode().rstrip("=")
    later = base64.urlsafe_b64encode((2**31).to_bytes(4, "big")).decode().rstrip("=")
    for forged in (
        f"{better}.{made}.{signature}",
        f"{body}.{later}.{signature}",
        f"{body}.{made}.",
        f"{body}.{made}",
        body,
        "",
        ".",
        "..",
        None,
        f"{body}.{made}.{'0' * 43}",
        "é.é.é",
        f"{token}é",
        f"{token}!",
    ):
        assert unsealed(forged, "session", SECRET) is None


def test_nobody_without_a_role_gets_a_token() -> None:
    with pytest.raises(InputError):
        sealed(Person("Eve", None, signed_in=True), "ticket", SECRET)


def test_session_is_renewed_before_it_ends_and_two_servers_have_two_secrets() -> None:
    assert 2 * RENEW_S < SESSION_S
    assert Server().secret != Server().secret
    assert "secret" not in repr(Server())
