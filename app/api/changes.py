"""Downloads of what changed since an earlier run, as a layer and as a table."""

import shutil
import tempfile
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from app.api.parameters import NEVER, guarded, model_in, view_in
from app.state.changes import changes_since
from damage_ssl.errors import InputError
from damage_ssl.products.difference import write_difference

_KINDS = {"changes.geojson": "application/geo+json", "changes.csv": "text/csv"}


@guarded
def download(request: Request) -> Response:
    """What changed from the run of the path to the model of the parameter `run`."""
    kind, view = request.path_params["kind"], view_in(request)
    if kind not in _KINDS:
        return Response(status_code=404)
    model = model_in(request, view)
    if model is None:
        raise InputError("changes: name the later model with run=…")
    found = changes_since(view, request.path_params["since"], model)
    folder = Path(tempfile.mkdtemp(prefix="damage-ssl-changes-"))
    clean = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    try:
        write_difference(found, folder / kind)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    name = f"{view.event.name}-{kind}"
    return FileResponse(folder / kind, media_type=_KINDS[kind], filename=name, headers=NEVER, background=clean)


ROUTES = [Route("/ds/{event}/changes/{since}/{kind}", download)]
