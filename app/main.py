"""Entry of the app: `streamlit run app/main.py -- --workspace DIR [--read-only] [--no-token]`, or `damage-ssl app`.

Without sign-in it listens on this machine only; see docs/access.md.
"""

import sys
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware

from app.api import host_check, routes
from app.auth.access import open_server
from app.auth.gate import Gate
from app.auth.start_up import printed_address
from app.jobs.warm_up import warm_in_background
from app.state.configuration import choose_workspace
from damage_ssl.errors import DamageSSLError, SettingsError


def sign_in_settings() -> dict[str, Any]:
    """The table `[auth]` of Streamlit's secrets; empty where there are none.

    Raises:
        SettingsError: a secrets file is there and cannot be read, which must not pass for one without sign-in.
    """
    if st.secrets.load_if_toml_exists():
        return dict(st.secrets.to_dict().get("auth", {}))
    broken = [path for path in st.get_option("secrets.files") if Path(path).exists()]
    if broken:
        raise SettingsError(f"{broken[0]}: is not a TOML file that can be read; mend it or take it away")
    return {}


def open_or_exit() -> None:
    """Refuse to serve where that is not safe: the reason on stderr and an exit code."""
    workspace = choose_workspace()
    try:
        here = open_server(st.get_option("server.address"), sign_in_settings(), workspace)
    except DamageSSLError as error:
        print(f"error {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    address, port = st.get_option("server.address") or "localhost", int(st.get_option("server.port"))
    print(f"open {printed_address(address, port, here.token)}", flush=True)


open_or_exit()


warm_in_background()


app = st.App("page.py", routes=routes(), middleware=[Middleware(Gate), host_check()])
