"""Entry of the app: `streamlit run app/main.py -- --workspace DIR`, or the folder in `$DAMAGE_SSL_WORKSPACE`."""

import streamlit as st

from app.routes import host_check, routes
from app.workspace import choose_workspace

choose_workspace()
app = st.App("page.py", routes=routes(), middleware=[host_check()])
