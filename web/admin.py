"""`/admin`: one page, made of the sections that the faces of a process contribute.

The page runs no script and loads nothing from elsewhere; its content security policy says so.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from aiohttp import web
from markupsafe import Markup

from .keyring import tenant_of
from .route import Route
from .template import Templates

_STYLE = """\
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}
body{margin:0 auto;max-width:75rem;padding:1rem}
h1{font-size:1.4rem}h2{font-size:1.15rem;margin-top:2.5rem}
nav a{margin-right:1rem}
table{border-collapse:collapse;width:100%}
.wide{overflow-x:auto}
th,td{border-bottom:1px solid #8884;padding:.3rem .6rem;text-align:left;vertical-align:middle}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font-size:.85em;overflow-wrap:anywhere}
img.thumb{display:block;height:4rem;max-width:8rem;object-fit:contain;background:#8882}
dl{display:flex;flex-wrap:wrap;gap:.5rem 2rem}dt{color:#888}dd{margin:0}
"""
_ICON = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#2a7" d="M1 4h14v3a1 1 0 0 0 0 \
2v3H1V9a1 1 0 0 0 0-2z"/><path stroke="#fff" stroke-dasharray="1 1" d="M10.5 4v8"/></svg>
"""
_ICON_PATH = "/admin/icon.svg"
_STYLE_PATH = f"/admin/style-{hashlib.sha256(_STYLE.encode()).hexdigest()[:12]}.css"
_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "same-origin",  # with no-referrer a form's Origin would be null
        "X-Content-Type-Options": "nosniff",
    }
)


@dataclass(frozen=True, slots=True)
class AdminSection:
    """A part of the page. `render` returns its HTML, escaped, for the tenant that looks."""

    name: str
    """The anchor: lower-case letters and dashes."""
    title: str
    render: Callable[[str], Awaitable[Markup]]


def admin_routes(sections: Sequence[AdminSection], *, title: str) -> list[Route]:
    """Return the page, for the scope `admin`, and its style and icon, for everybody."""
    templates = Templates("coatcheck.web")

    async def page(request: web.Request) -> web.StreamResponse:
        tenant = tenant_of(request)
        contents = await asyncio.gather(*(section.render(tenant) for section in sections))
        html = templates.render(
            "admin.html",
            title=title,
            style_path=_STYLE_PATH,
            icon_path=_ICON_PATH,
            sections=list(zip(sections, contents, strict=True)),
        )
        return web.Response(text=html, content_type="text/html", headers=_HEADERS)

    async def style(request: web.Request) -> web.StreamResponse:
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return web.Response(text=_STYLE, content_type="text/css", headers=headers)

    async def icon(request: web.Request) -> web.StreamResponse:
        headers = {"Cache-Control": "public, max-age=86400"}
        return web.Response(text=_ICON, content_type="image/svg+xml", headers=headers)

    return [
        Route("GET", "/admin", page, scope="admin"),
        Route("GET", _STYLE_PATH, style, scope=None),
        Route("GET", _ICON_PATH, icon, scope=None),
    ]
