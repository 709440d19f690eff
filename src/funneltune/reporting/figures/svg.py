"""A drawing as SVG that a page can colour, select, read aloud and print; or as a picture file."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from matplotlib import rc_context
from PIL import Image

from funneltune.files import whole_file
from funneltune.reporting.figures.drawing import PAPER, STYLE, THEME, Drawing

FORMATS = ("png", "svg", "pdf")
NO_DATE: dict[str, None] = {"Date": None, "Creator": None, "Format": None, "Type": None}
_IDS = re.compile(r'\bid="([^"]+)"')
_USED = re.compile(r'(\bid="|href="#|url\(#)([^")]+)')
"""An id, where it is given and where it is used. Matplotlib's own hold addresses of this process."""
_METADATA = re.compile(r"<metadata>.*?</metadata>\s*", re.DOTALL)
_GLOBAL_STYLE = re.compile(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>\s*", re.DOTALL)
_SIZE = re.compile(r'<svg [^>]*?viewBox="(?P<box>[^"]+)"[^>]*>')


def to_svg(drawing: Drawing) -> str:
    """Inline SVG: colours are the page's (`var(--series-1)`), texts are texts, ids are the drawing's own.

    The same drawing gives the same text.
    """
    out = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": drawing.name}):
        drawing.figure.savefig(out, format="svg", metadata=NO_DATE, transparent=True)
    text = out.getvalue()
    text = text[text.index("<svg ") :]
    text = _GLOBAL_STYLE.sub("", _METADATA.sub("", text), count=1)
    for tip, said in drawing.tips.items():
        text = text.replace(f'<g id="{tip}">', f'<g id="{tip}"><title>{escape(said)}</title>', 1)
    names = {name: f"{drawing.name}-{number}" for number, name in enumerate(dict.fromkeys(_IDS.findall(text)))}
    text = _USED.sub(lambda found: found[1] + names[found[2]], text)
    for name, colour in THEME.items():
        text = text.replace(colour, f"var(--{name})")
    found = _SIZE.search(text)
    assert found is not None
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{found["box"]}" '
        f'role="img" aria-labelledby="{drawing.name}-said" class="picture">'
        f'<title id="{drawing.name}-said">{escape(drawing.title)}. {escape(drawing.caption)}</title>'
    )
    return head + text[found.end() :].strip()


def to_png(drawing: Drawing, dpi: int = 144) -> bytes:
    """The picture in the colours of the light scheme."""
    out = io.BytesIO()
    with rc_context(STYLE):
        drawing.figure.savefig(out, format="png", dpi=dpi)
    return out.getvalue()


def overview(drawings: Sequence[Drawing], dpi: int = 200) -> bytes | None:
    """One picture for a README: differences and quality against cost side by side. None where there is neither."""
    kinds = [[d for d in drawings if d.name.startswith(kind)] for kind in ("differences-", "cost-")]
    chosen = [*kinds[0][:2], *kinds[1][:1]] if kinds[1] else kinds[0][:3]
    if not chosen:
        return None
    parts = [Image.open(io.BytesIO(to_png(drawing, dpi))).convert("RGB") for drawing in chosen]
    whole = Image.new("RGB", (sum(part.width for part in parts), max(part.height for part in parts)), PAPER)
    left = 0
    for part in parts:
        whole.paste(part, (left, whole.height - part.height))
        left += part.width
    out = io.BytesIO()
    whole.quantize(128).save(out, "png", optimize=True)
    return out.getvalue()


def save(drawing: Drawing, folder: Path, form: str) -> Path:
    """Write `<name>.<form>` (png, svg or pdf) whole or not at all."""
    path = folder / f"{drawing.name}.{form}"
    with rc_context({**STYLE, "svg.hashsalt": drawing.name, "svg.fonttype": "path"}), whole_file(path) as part:
        no_date = {"Software": None} if form == "png" else {"CreationDate": None} if form == "pdf" else {"Date": None}
        drawing.figure.savefig(part, format=form, dpi=200, metadata=no_date)
    return path
