"""Objects as notebooks show them: a title, a table of figures, a small curve."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import isfinite

#: Size of a curve in pixels.
WIDTH = 180
HEIGHT = 40
#: Most points of a curve: two a pixel.
MOST = 2 * WIDTH


def card(title: str, rows: Iterable[tuple[str, object]], picture: str = "") -> str:
    """A title over a table with two columns, beside an optional picture (already HTML)."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(_shown(value))}</td></tr>"
        for name, value in rows
        if value is not None
    )
    return f"<div><strong>{escape(title)}</strong>{picture}<table>{cells}</table></div>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """A table with a head."""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(_shown(v))}</td>' for v in row)}</tr>" for row in rows
    )
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{said}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def curve(values: Iterable[float]) -> str:
    """Finite numbers as a small curve; nothing for fewer than two."""
    listed = [float(v) for v in values if isfinite(v)]
    listed = listed[:: -(-len(listed) // MOST) or 1]
    if len(listed) < 2:
        return ""
    low, high = min(listed), max(listed)
    across = (WIDTH - 4) / (len(listed) - 1)
    up = (HEIGHT - 4) / (high - low) if high > low else 0.0
    points = " ".join(
        f"{2 + i * across:.1f},{HEIGHT - 2 - (v - low) * up:.1f}" for i, v in enumerate(listed)
    )
    return (
        f"<br><svg width='{WIDTH}' height='{HEIGHT}' role='img'>"
        f"<polyline points='{points}' fill='none' stroke='#0072B2' stroke-width='1.5'/></svg>"
    )


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
