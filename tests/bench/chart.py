"""Bars of ratios as SVG: each peer's cost in terms of Postcell's."""

import statistics
from xml.sax.saxutils import escape

COLOURS = {"postcell": "#20639b", "haproxy": "#8d99ae", "nginx": "#3caea3",
           "dovecot": "#f6a21e", "perdition": "#b3392f", "2 relays": "#7fb0d8"}
LABEL, WIDTH, BAR, GAP, SCALE_MAX = 300, 860, 11, 12, 4.0


def cost(values, own, more_is_better):
    """How many times Postcell's cost; 1 is Postcell itself."""
    ratio = statistics.median(values) / statistics.median(own)
    return 1 / ratio if more_is_better else ratio


def draw(results, titles, names):
    step = (WIDTH - LABEL - 60) / SCALE_MAX
    shapes, top = [], 44
    for name, title, _, more in titles:
        row = results.get(name, {})
        own = row.get("postcell")
        if not own or statistics.median(own) <= 0:
            continue
        shapes.append(f'<text x="{LABEL - 8}" y="{top + BAR}"'
                      f' text-anchor="end">{escape(title)}</text>')
        for peer in names:
            if peer not in row or statistics.median(row[peer]) <= 0:
                continue
            value = cost(row[peer], own, more)
            width = min(value, SCALE_MAX) * step
            shapes.append(
                f'<rect x="{LABEL}" y="{top}" width="{width:.1f}"'
                f' height="{BAR - 1}" fill="{COLOURS[peer]}"/>'
                f'<text class="n" x="{LABEL + width + 4:.1f}"'
                f' y="{top + BAR - 2}">{value:.2f}</text>')
            top += BAR
        top += GAP
    legend = "".join(
        f'<rect x="{LABEL + i * 100}" y="14" width="10" height="10"'
        f' fill="{COLOURS[peer]}"/><text x="{LABEL + 14 + i * 100}" y="23">'
        f'{peer}</text>' for i, peer in enumerate(names))
    line = (f'<line x1="{LABEL + step:.1f}" x2="{LABEL + step:.1f}" y1="34"'
            f' y2="{top}" stroke="#444" stroke-dasharray="3 3"/>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}"'
            f' height="{top + 10}" font-family="sans-serif" font-size="11">'
            '<style>.n{font-size:9px;fill:#444}</style>'
            '<rect width="100%" height="100%" fill="white"/>'
            f'<text x="{LABEL - 8}" y="23" text-anchor="end">cost, Postcell'
            f' = 1</text>{legend}{"".join(shapes)}{line}</svg>\n')
