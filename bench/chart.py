"""Bar charts as SVG, written by hand: one panel under the other, a bar for each tunnel, its value beside it. Pure."""
from xml.sax.saxutils import escape

WIDTH, LABEL, BAR, GAP, MARGIN, VALUE = 760, 190, 18, 8, 16, 90
HEAD, TITLE = 34, 30
INK, FAINT, OURS, THEIRS, RAW = '#1d2430', '#6b7482', '#1463c4', '#9aa5b4', '#d3d9e1'


def colour(name):
    return OURS if name.startswith('warren') else RAW if name == 'veth' else THEIRS


def text(x, y, what, size=12, fill=INK, anchor='start', weight='normal'):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" font-weight="{weight}">'
            f'{escape(what)}</text>')


def panel(y, title, unit, bars):
    """([element, ...], height). bars: [(name, value, text of the value)]"""
    parts = [text(MARGIN, y + 20, title, 14, weight='bold'), text(WIDTH - MARGIN, y + 20, unit, 12, FAINT, 'end')]
    top, room = max((v for _, v, _ in bars), default=0), WIDTH - LABEL - VALUE - 2 * MARGIN
    at = y + HEAD
    for name, value, shown in bars:
        long = max(1.0, room * value / top) if top > 0 else 1.0
        parts.append(text(MARGIN + LABEL - 8, at + BAR - 5, name, anchor='end'))
        parts.append(f'<rect x="{MARGIN + LABEL}" y="{at}" width="{long:.1f}" height="{BAR}" rx="2" fill="{colour(name)}"/>')
        parts.append(text(MARGIN + LABEL + long + 6, at + BAR - 5, shown, weight='bold' if name.startswith('warren') else 'normal'))
        at += BAR + GAP
    return parts, at - y + GAP


def chart(title, below, panels):
    """The whole file. panels: [(title, unit, [(name, value, text of the value)])]; below: one line under the title."""
    parts, y = [text(MARGIN, 28, title, 18, weight='bold'), text(MARGIN, 46, below, 11, FAINT)], 46 + TITLE / 2
    for p in panels:
        drawn, height = panel(y, *p)
        parts += drawn
        y += height
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:.0f}" width="{WIDTH}" height="{y:.0f}" '
            f'font-family="Helvetica, Arial, sans-serif" role="img">\n<title>{escape(title)}</title>\n'
            f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + '\n'.join(parts) + '\n</svg>\n')
