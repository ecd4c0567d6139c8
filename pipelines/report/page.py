"""One self-contained page of the files beside this one and data.

The data are JSON in a script tag with every `<` escaped, so no text in them can end it; the page's
code puts them into elements as text. The page's own policy lets the code shipped here run and
nothing else, and lets it load nothing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

from pipelines.script_data import embed_json

SCRIPTS = ("dom.js", "charts.js", "figures.js", "compare.js", "detail.js", "page.js")


def render_page(data: Mapping[str, Any], *, title: str) -> str:
    """The page as HTML. Raises ValueError for NaN or infinity in the data."""
    style = _file("page.css")
    script = "(() => {\n'use strict';\n" + "\n".join(_file(name) for name in SCRIPTS) + "})();\n"
    parts = {
        "title": escape(title),
        "policy": f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'",
        "style": style,
        "data": embed_json(data),
        "script": script,
    }
    # One pass: a value that looks like a placeholder is not looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _file("page.html"))


def _file(name: str) -> str:
    return files("pipelines.report").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode('ascii')}'"
