"""Downloads of hand-over packs and of the map alone, served from the disk."""

from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from app.api.parameters import NEVER, error_answer, filter_in, guarded, model_in, refusal, view_in
from app.jobs import handover_jobs
from damage_ssl.errors import DamageSSLError, InputError
from damage_ssl.products.handover.pack_files import Pack

_KINDS = {"map.geojson": "application/geo+json", "pack.zip": "application/zip"}
_MAX_LICENCE = 400


async def download(request: Request) -> Response:
    """The map of the filter as GeoJSON or as a pack; written first where that was not done yet."""
    # another site's page must not fill the disk through an address that it made up
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return refusal("maps are handed over from this app's own pages only", 403)
    try:
        return await run_in_threadpool(_download, request)
    except DamageSSLError as error:
        return error_answer(error)


def _download(request: Request) -> Response:
    kind, view = request.path_params["kind"], view_in(request)
    if kind not in _KINDS:
        return Response(status_code=404)
    licence = request.query_params.get("licence", "").strip()
    if len(licence) > _MAX_LICENCE:
        raise InputError(f"the licence has more than {_MAX_LICENCE} characters")
    language = request.query_params.get("language", "en")
    asked = handover_jobs.HandoverJob(view, model_in(request, view), filter_in(request), licence or None, language)
    pack = handover_jobs.pack_of(asked)
    part = "damage" if asked.wanted.is_open else "damage-selection"
    path, ending = (pack.map_path, "geojson") if kind == "map.geojson" else (zip_of(pack), "zip")
    return FileResponse(path, media_type=_KINDS[kind], filename=f"{view.event.name}-{part}.{ending}", headers=NEVER)


def made(request: Request) -> Response:
    """A pack that was written before, whatever version wrote it."""
    wanted = (request.path_params["model"], request.path_params["pack"])
    for pack in handover_jobs.made(view_in(request).event):
        if (pack.folder.parent.name, f"{pack.folder.name}.zip") == wanted:
            name = f"{request.path_params['event']}-{wanted[1]}"
            return FileResponse(zip_of(pack), media_type=_KINDS["pack.zip"], filename=name, headers=NEVER)
    return Response(status_code=404)


def zip_of(pack: Pack) -> Path:
    """The ZIP of a pack that has one."""
    return pack.zip_path or pack.folder.with_name(f"{pack.folder.name}.zip")


ROUTES = [
    Route("/ds/{event}/handover/made/{model}/{pack}", guarded(made)),
    Route("/ds/{event}/handover/{kind}", download),
]
