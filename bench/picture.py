"""The table's main lines as bars, in SVG."""

from html import escape

COLOURS = {"direct": "#9aa0a6", "nginx": "#1a936f", "envoy": "#6a4c93", "steelyard": "#c1292e", "litellm": "#f1a208"}
WANTED = ("CPU-s / 1,000 plain calls", "CPU-s / 1,000 streams of 64", "p50 added at 32 connections, ms", "memory, MB")
BAR, GAP, LEFT, WIDTH = 18, 34, 150, 760


def draw(rows: list[list[str]]) -> str:
    names = rows[0][1:]
    parts, y = [], 20
    for row in rows[1:]:
        if row[0] not in WANTED:
            continue
        values = [float(value) if value != "–" else 0.0 for value in row[1:]]
        # a peer that is off the scale is drawn at its edge, with its figure
        ordered = sorted(values)
        top = max(ordered[-1] if ordered[-1] < 8 * ordered[-2] else ordered[-2] * 1.3, 1e-9)
        parts.append(f'<text x="10" y="{y}" font-weight="bold">{escape(row[0])}</text>')
        y += 10
        for name, value in zip(names, values, strict=True):
            width = max(1.0, min(value / top, 1.0) * (WIDTH - LEFT - 110))
            parts.append(f'<text x="10" y="{y + 13}">{escape(name)}</text>')
            parts.append(
                f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{COLOURS.get(name, "#555")}"/>'
            )
            parts.append(f'<text x="{LEFT + width + 6:.1f}" y="{y + 13}">{value:g}</text>')
            y += BAR + 4
        y += GAP
    style = "font-family:system-ui,sans-serif;font-size:13px;background:#fff"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" style="{style}">{"".join(parts)}</svg>\n'
    )
