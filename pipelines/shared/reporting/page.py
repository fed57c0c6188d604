"""The pages: one file each, no network, readable without scripts, every text escaped."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from pipelines.shared.inert_texts import visible
from pipelines.shared.reporting.leaderboard import named, ranked, shown

HERE = Path(__file__).resolve().parent


def render(template: str, values: Mapping[str, Any]) -> str:
    """The HTML text of a page.

    Args:
        template: `page.html`, the report, or `data.html`, its data page.
        values: What the template reads.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": shown,
        "named": named,
        "ranked": ranked,
        "visible": visible,
        "breakable": breakable,
    }
    files = {name: (HERE / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    # the page runs and shows nothing but this style and this script
    digests = {
        f"{name}_sha256": base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in files.items()
    }
    return environment.get_template(template).render(**values, **files, **digests)


def data_block(value: Any) -> str:
    """JSON for a `<script>` that is data: no character of it can end the element, begin a comment, or turn the text.

    A browser runs no script of a type that it does not know, so the page's policy has no say in it.
    """
    text = json.dumps(value, sort_keys=True, allow_nan=False)
    return "".join(f"\\u{ord(character):04x}" if character in "<>&" else character for character in text)


def breakable(name: str) -> Markup:
    """A name that a narrow column may break after its underscores."""
    return Markup("<wbr>").join(escape(part) for part in re.findall(r"[^_]*_+|[^_]+", name))
