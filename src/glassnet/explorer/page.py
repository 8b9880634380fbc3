"""The live page as one HTML file: template, style, scripts and data, with a policy that forbids every request."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from glassnet.pages.colours import colour_variables

# The order in which the scripts are read; each uses only names of those before it until the page has loaded.
ENGINE = ("payload", "layers", "network", "training", "check", "worker")
PAGE = (
    *("components", "state", "network_view", "terms", "why", "look", "change", "resize", "ink", "draw"),
    *("train", "breaking", "share", "api", "main"),
)


def engine_source() -> str:
    """Return the JavaScript engine, which a worker of the page runs."""
    return "\n".join(_source(f"engine/{name}.js") for name in ENGINE)


def page_scripts() -> dict[str, str]:
    """Return the scripts of the page itself by name, the library first; it reads the payload as the engine does."""
    library = {"htm-preact": _source("vendor/htm-preact.js"), "payload": _source("engine/payload.js")}
    return library | {name: _source(f"page/{name}.js") for name in PAGE}


def render_page(title: str, payload: bytes) -> str:
    """Return the live page as HTML.

    The engine and the payload are in elements that no browser executes; the page starts the one in a worker with the
    other.

    :param title: title of the page; it is escaped.
    :param payload: the bytes of ``glassnet.explorer.payload``.
    """
    environment = Environment(
        loader=PackageLoader("glassnet.explorer", "page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    scripts = page_scripts()
    return environment.get_template("page.html.j2").render(
        title=title,
        policy=content_policy(scripts.values()),
        style=Markup(colour_variables() + _source("page/page.css")),
        engine=Markup(engine_source()),
        payload=base64.b64encode(zlib.compress(payload, 9)).decode(),
        scripts={name: Markup(source) for name, source in scripts.items()},
    )


def content_policy(scripts: Iterable[str]) -> str:
    """Return the policy that allows these scripts and a worker made from the page's own text, and no request."""
    digests = [base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; worker-src blob:; img-src data: blob:; style-src 'unsafe-inline'"


def _source(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
