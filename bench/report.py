"""What was measured, made readable: medians, ratios, targets, the table for the terminal and the one for README.md. Pure: dictionaries in,
text out (report_test.py).

    results = {'tunnels': {name: {'note', 'version', 'missing', 'get', 'rounds': [{figure: value}]}},
               'rows': [{'name', 'value', 'unit'}], 'figures': {figure: (label, unit, better: higher, lower, or '' where a ratio says nothing)},
               'machine', 'date', 'round_count'}
"""
import re
import statistics

BASE, RAW = 'wireguard-go', 'veth'
README_BEGIN, README_END = '<!-- figures: begin, by tools/bench --readme -->', '<!-- figures: end -->'

# What we set ourselves. (what, figure, of which tunnel, over which or None, '>=' or '<=', limit, unit of what is compared)
GOALS = [
    ('TCP, one stream, over wireguard-go', 'tcp1', 'warren-tun', BASE, '>=', 3.5),
    ('TCP, one stream, over raw veth', 'tcp1', 'warren-tun', RAW, '>=', 0.5),
    ('TCP, one stream, TAP over TUN', 'tcp1', 'warren-tap', 'warren-tun', '>=', 0.85),
    ('TCP, one stream, ChaCha20-Poly1305, over wireguard-go', 'tcp1', 'warren-chacha', BASE, '>=', 2),
    ('UDP 1200 B delivered under flood, over wireguard-go', 'udp1200', 'warren-tun', BASE, '>=', 4),
    ('UDP 64 B packets per second, over wireguard-go', 'pps64', 'warren-tun', BASE, '>=', 4),
    ('RTT idle, over tinc', 'rtt', 'warren-tun', 'tinc', '<=', 1),
    ('RTT added by half load, ms', 'rtt_added', 'warren-tun', None, '<=', 1),
    ('CPU at rest, % of one core', 'rest', 'warren-tun', None, '<=', 0.1),
]
# Rows by name: (pattern, '>=' or '<=', limit)
# CPU at rest is judged for a connected pair (GOALS): the nodes of bench_memory have no hub and no connected peer.
ROW_GOALS = [
    (r'handshake, both ends', '<=', 5),
    (r'resume, both ends', '<=', 0.1),
    (r'hub memory per idle TLS client', '<=', 40),
    (r'node at rest, no party|node in a party of two', '<=', 16),
    (r'join to first ping|join to the direct path|direct path cut silently', '<=', 1000),
    (r'added by the relay to the bare legs', '<=', 1),
    # Every way in which the load is offered is judged, not the best one alone.
    (r'relay websocket 1[24]00 B( flooded)?, per second of hub CPU', '>=', 2),
    (r'relay udp 1200 B( sent one by one)?, per second of CPU', '>=', 2.5),
    (r'relay udp \d+ B( sent one by one)?, .*times coturn', '>=', 2),
    (r'node, resident, 1000 idle peers', '<=', 12000),
    (r'node, resident per idle peer', '<=', 2),
]
# What the table of README.md leaves out: it is in bench.json.
README_WITHOUT = r'^(relay|coturn) .*( 64 B| 512 B|flooded|one by one|arrived|delivered|dropped|hub CPU$)|^(seal|open|rekey)'
README_COLUMNS = ['tcp1', 'tcp4', 'pps64', 'udp512', 'udp1200', 'clean1200', 'rtt', 'rtt_added', 'cpu_gb', 'rss']
README_HEADS = {'tcp1': 'TCP 1 stream', 'tcp4': 'TCP 4 streams', 'pps64': 'UDP 64 B', 'udp512': 'UDP 512 B', 'udp1200': 'UDP 1200 B',
                'clean1200': 'UDP 1200 B, < 0.1 % lost', 'rtt': 'RTT idle', 'rtt_added': 'RTT added by half load', 'cpu_gb': 'CPU per GB', 'rss': 'memory'}


def number(x):
    """Three digits that matter, never an exponent."""
    if x is None:
        return '-'
    if x == 0:
        return '0'
    size = abs(x)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.01 else 4
    return f'{x:,.{digits}f}' if digits == 0 else f'{x:.{digits}f}'


def medians(results):
    """{tunnel: {figure: median over the rounds in which it was measured}}"""
    found = {}
    for name, t in results['tunnels'].items():
        keys = {k for r in t['rounds'] for k in r}
        found[name] = {k: statistics.median([r[k] for r in t['rounds'] if k in r]) for k in keys}
    return found


def ratio(of, name, over, figure):
    """How many times as much as another tunnel, or None."""
    a, b = of.get(name, {}).get(figure), of.get(over, {}).get(figure)
    return a / b if a is not None and b else None


def holds(value, op, limit):
    return value >= limit if op == '>=' else value <= limit


def goals(results):
    """[(what, value or None, 'at least 3.5', met or None)]"""
    of, found = medians(results), []
    for what, figure, name, over, op, limit in GOALS:
        value = ratio(of, name, over, figure) if over else of.get(name, {}).get(figure)
        found.append((what, value, in_words(op, limit), None if value is None else holds(value, op, limit)))
    return found


def in_words(op, limit):
    return ('at least ' if op == '>=' else 'at most ') + f'{limit:g}'


def row_goal(row):
    """(target in words, met), or None where nothing was promised."""
    for pattern, op, limit in ROW_GOALS:
        if re.search(pattern, row['name']):
            return in_words(op, limit), holds(row['value'], op, limit)
    return None


def verdict(met):
    return {True: 'met', False: 'not met', None: 'not measured'}[met]


def columns(lines, right=1):
    """Aligned columns; the first `right` of them to the left, the others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return '\n'.join('  '.join(c.ljust(w) if i < right else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))).rstrip() for line in lines)


def measured(results):
    return [n for n, t in results['tunnels'].items() if t['rounds']]


def tunnels_text(results):
    """The medians: a line for each figure, a column for each tunnel; then ratios to the reference and to the raw pair."""
    of, names = medians(results), measured(results)
    shown = [k for k in results['figures'] if any(k in of[n] for n in names)]
    if not shown:
        return ''
    lines = [['', 'unit', *names]]
    for k in shown:
        label, unit, _ = results['figures'][k]
        lines.append([label, unit, *(number(of[n].get(k)) for n in names)])
    parts = [columns(lines, 2)]
    for base in (BASE, RAW):
        if base not in names:
            continue
        lines = [[f'times {base} {results["tunnels"][base]["version"] if base == BASE else ""}'.strip(), *names]]
        for k in shown:
            if of[base].get(k) and results['figures'][k][2]:
                lines.append([results['figures'][k][0], *(number(ratio(of, n, base, k)) for n in names)])
        parts.append(columns(lines))
    return '\n\n'.join(parts)


def goals_text(results, full=True):
    """full: with those of which nothing was measured."""
    lines = [[what, number(value), wanted, verdict(met)] for what, value, wanted, met in goals(results) if full or value is not None]
    return columns([['target', 'measured', 'wanted', ''], *lines]) if lines else ''


def rows_text(results, full=True):
    """full: with those of which nothing was promised."""
    lines = []
    for r in results['rows']:
        goal = row_goal(r)
        if full or goal:
            lines.append([r['name'], number(r['value']), r['unit'], *((goal[0], verdict(goal[1])) if goal else ('', ''))])
    return columns([['', 'value', 'unit', 'wanted', ''], *lines]) if lines else ''


def markdown_table(lines):
    head, *rest = lines
    aligned = ['---'] + ['---:'] * (len(head) - 1)
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in [head, aligned, *rest])


def title(name, t):
    text = name if name == RAW else f'{name} {t["version"]}'.strip()
    return f'{text} ({t["note"]})' if t['note'] else text


def readme_line(results, of, name, keys):
    cells = []
    for k in keys:
        times = ratio(of, name, BASE, k) if k == 'tcp1' and name != BASE else None
        cells.append(number(of[name].get(k)) + (f' ({number(times)} x)' if times else ''))
    return [title(name, results['tunnels'][name]), *cells]


def readme(results):
    """The section of README.md between the markers."""
    of, names = medians(results), measured(results)
    keys = [k for k in README_COLUMNS if any(k in of[n] for n in names)]
    count = results['round_count']
    fewer = ', '.join(f'{n} of {len(results["tunnels"][n]["rounds"])}' for n in names if len(results['tunnels'][n]['rounds']) != count)
    parts = [f'Measured by `make bench` on {results["date"]}: {results["machine"]}. Two network namespaces and one veth pair, MTU 1500; both ends and the load '
             f'on the same cores; median of {count} round{"s" if count != 1 else ""}{f" ({fewer})" if fewer else ""}, the tunnels taking turns. In brackets: times wireguard-go. '
             'Such a pair carries runs of segments (GSO) whole, as no wire does: who sends runs gains from it, in tunnels and relays.']
    if names:
        parts.append(markdown_table([['', *(f'{README_HEADS[k]}, {results["figures"][k][1]}' for k in keys)],
                                     *(readme_line(results, of, n, keys) for n in names)]))
    known = [g for g in goals(results) if g[1] is not None]
    if known:
        parts.append(markdown_table([['target', 'measured', 'wanted', '']] + [[w, number(v), want, verdict(met)] for w, v, want, met in known]))
    if results['rows']:
        found = [['other figures', 'value', 'unit', 'wanted']]
        for r in results['rows']:
            goal = row_goal(r)
            if re.search(README_WITHOUT, r['name']) and not goal:
                continue
            found.append([r['name'], number(r['value']), r['unit'], f'{goal[0]}: {verdict(goal[1])}' if goal else ''])
        parts.append(markdown_table(found))
    return '\n\n'.join(parts) + '\n'


def put_in(text, table):
    """README.md with the table between its markers; ValueError where they are not."""
    begin, end = text.find(README_BEGIN), text.find(README_END)
    if begin < 0 or end < begin:
        raise ValueError(f'README.md has no lines {README_BEGIN} and {README_END}')
    return text[:begin + len(README_BEGIN)] + '\n' + table.strip() + '\n' + text[end:]
