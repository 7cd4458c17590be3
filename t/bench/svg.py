# SPDX-License-Identifier: MIT
"""Curves over two logarithmic axes as a plain SVG file."""

import math
from xml.sax.saxutils import escape

COLOURS = ["#1b6ca8", "#c1440e", "#2e7d32", "#8e24aa", "#b8860b", "#00838f", "#5d4037", "#d81b60", "#546e7a", "#6a8f00"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 480, 70, 220, 40, 50


def label(value):
    for limit, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{suffix}"
    return f"{value:g}"


def curves(path, title, x_title, by_name):
    """by_name: {name: [(size, milliseconds), ..]}"""
    xs = [math.log10(x) for points in by_name.values() for x, _ in points]
    ys = [math.log10(y) for points in by_name.values() for _, y in points]
    x0, x1, y0, y1 = min(xs), max(xs), math.floor(min(ys)), math.ceil(max(ys))
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)

    def at(x, y):
        return (LEFT + (math.log10(x) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - (math.log10(y) - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="24" font-size="15">{escape(title)}</text>']
    for k in range(y0, y1 + 1):
        left, y = at(10 ** x0, 10.0 ** k)
        right, _ = at(10 ** x1, 10.0 ** k)
        out.append(f'<line x1="{left:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{label(10.0 ** k)} ms</text>')
    for x in sorted({x for points in by_name.values() for x, _ in points}):
        px, bottom = at(x, 10.0 ** y0)
        _, top = at(x, 10.0 ** y1)
        out.append(f'<line x1="{px:.1f}" y1="{bottom:.1f}" x2="{px:.1f}" y2="{top:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{px:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{label(x)}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_title)}</text>')
    ends = sorted((at(*points[-1])[1], name) for name, points in by_name.items())
    below = TOP - 14
    for i, (name, points) in enumerate(by_name.items()):
        line = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in points)
        out.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[i % len(COLOURS)]}" stroke-width="2"/>')
    names = list(by_name)
    for y, name in ends:
        below = max(y + 4, below + 14)
        out.append(f'<text x="{WIDTH - RIGHT + 10}" y="{below:.1f}" fill="{COLOURS[names.index(name) % len(COLOURS)]}">{escape(name)}</text>')
    out.append("</svg>")
    with open(path, "w") as f:
        f.write("\n".join(out) + "\n")
