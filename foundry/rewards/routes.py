"""The reward server's own routes. What they promise is in docs/rewards.md."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import prometheus_client as prometheus
from fastapi import FastAPI, Request, Response

from foundry.rewards.admission import Refused
from foundry.rewards.formulas import CME_BASE, QMA_BASE
from foundry.rewards.items import BadRequest
from foundry.rewards.scoring import SUM_WEIGHTS
from foundry.rewards.service import Service
from pipelines.fast_json import dump_json
from pipelines.stages import Stage
from pipelines.version import code_version

# Of all that shapes a question: prompt, what stands before it, what a second try adds, form.
_DIGESTS = ("prompt", "system", "retry", "schema")


def make_app(service: Service) -> FastAPI:
    """The routes."""
    app = FastAPI(title="Firm Foundry rewards", docs_url=None, redoc_url=None, openapi_url=None)

    async def guarded(
        request: Request, handle: Callable[[Request], Awaitable[dict[str, Any]]]
    ) -> Response:
        with service.metrics.request(request.url.path) as status:
            headers = {}
            try:
                check_token(request, service.token)
                status.code, told = 200, await handle(request)
            except BadRequest as bad:
                status.code, told = 400, {"error": str(bad)}
            except Refused as error:
                status.code, told = error.status, {"error": error.message}
                if error.status in (429, 503):
                    headers["Retry-After"] = str(service.judges.retry_after_s())
            return _json(status.code, told, headers)

    @app.post("/v1/score")
    async def score(request: Request) -> Response:
        return await guarded(request, service.score)

    @app.post("/v1/group")
    async def group(request: Request) -> Response:
        return await guarded(request, service.score_group)

    @app.get("/version")
    async def version(request: Request) -> Response:
        return await guarded(request, partial(_version, service))

    @app.get("/healthz")
    async def healthz() -> Response:
        return _json(200, {"status": "ok"})

    @app.get("/readyz")
    async def readyz() -> Response:
        ready = not service.room.draining and await service.judges.answer()
        return _json(200 if ready else 503, {"ready": ready})

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(
            service.metrics.page(),
            media_type=prometheus.CONTENT_TYPE_LATEST,
        )

    return app


def check_token(request: Request, token: str | None) -> None:
    """Raises Refused unless the request has the token.

    The comparison takes as long however much of it is right.
    """
    given = request.headers.get("authorization", "").encode("latin-1")
    if token is not None and not hmac.compare_digest(given, f"Bearer {token}".encode()):
        raise Refused(401, "a bearer token is needed: Authorization: Bearer ...")


async def _version(service: Service, request: Request) -> dict[str, Any]:
    settings, stages = service.settings, service.stages.values()
    return {
        "model": _public(settings.endpoint[0].model_name),
        "revision": next(iter(stages)).revision,
        "mode": settings.mode,
        "k": settings.k if settings.mode == "average" else 1,
        "edit_reward": settings.edit_reward,
        "gen_reward": settings.gen_reward,
        "weights": {"cme": CME_BASE, "qma": QMA_BASE, "sum": SUM_WEIGHTS},
        "prompts": {stage.prompt_id: _digests(stage) for stage in stages},
        **code_version(),
    }


def _public(model: str) -> str:
    """A model's name; of a folder of this machine that of the folder alone."""
    return Path(model).name if Path(model).is_absolute() else model


def _digests(stage: Stage) -> dict[str, Any]:
    return {name: stage.provenance[f"{name}_sha256"] for name in _DIGESTS}


def _json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(dump_json(value), status, headers, media_type="application/json")
