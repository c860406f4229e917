"""svg.py - an SVG drawing as text: shapes, words, and a logarithmic axis. Colours are classes of the page's style."""
import math
from html import escape


class Drawing:
    def __init__(self, width, height, title):
        self.width, self.height, self.parts = width, height, [f"<title>{escape(title)}</title>"]

    def line(self, x1, y1, x2, y2, kind):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def bar(self, x, y, width, height, kind, tip):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" '
                          f'class="{kind}"><title>{escape(tip)}</title></rect>')

    def dot(self, x, y, kind, tip):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="{kind}"><title>{escape(tip)}</title>'
                          "</circle>")

    def text(self, x, y, words, anchor="start", kind="label", turn=0):
        about = f' transform="rotate({turn:.1f} {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}"{about}>{escape(words)}'
                          "</text>")

    def __str__(self):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img">'
                + "".join(self.parts) + "</svg>")


class LogScale:
    """From values low..high, both above 0, to positions first..last."""

    def __init__(self, low, high, first, last):
        self.low, self.high, self.first, self.last = low, high, first, last

    def __call__(self, value):
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return self.first + part * (self.last - self.first)

    def ticks(self):
        """1, 2 and 5 times the powers of ten that lie within."""
        for power in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1):
            for digit in (1, 2, 5):
                if self.low <= digit * 10.0 ** power <= self.high:
                    yield digit * 10.0 ** power
