"""What one folder contributes to a process, and how several become one route table."""

from collections.abc import Sequence
from dataclasses import dataclass

from .admin import AdminSection, admin_routes
from .health import ReadinessCheck, health_routes
from .openapi import openapi_route
from .route import Route, join_routes


@dataclass(frozen=True, slots=True)
class Face:
    """Routes, and parts of the pages that every process has once."""

    routes: Sequence[Route]
    sections: Sequence[AdminSection] = ()
    checks: Sequence[ReadinessCheck] = ()
    private: Sequence[Route] = ()
    """What the other processes of one server ask this one for; clients do not reach it."""


def join_faces(faces: Sequence[Face], *, title: str, version: str) -> list[Route]:
    """Return the table of a process: the faces' routes, health, `/admin` and `/openapi.json`.

    The first face wins a route that two have.
    """
    sections = [section for face in faces for section in face.sections]
    checks = [check for face in faces for check in face.checks]
    routes = join_routes(
        [
            *(face.routes for face in faces),
            [*health_routes(checks), *admin_routes(sections, title=title)],
        ]
    )
    return [*routes, openapi_route(routes, title=title, version=version)]
