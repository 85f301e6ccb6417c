#!/usr/bin/env python3
"""The pure parts of the benchmark: medians, ratios, targets, tables, the chart, and the search for the highest clean rate. Prints TAP lines."""
import os
import sys
import xml.dom.minidom

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import chart  # noqa: E402
import report  # noqa: E402
import udp  # noqa: E402

FIGURES = {'tcp1': ('TCP, one stream', 'Gbit/s', 'higher'), 'rtt': ('RTT idle, median', 'ms', 'lower')}


def tunnel(*rounds, version='1', note=''):
    return {'note': note, 'version': version, 'missing': None, 'get': '', 'rounds': list(rounds)}


def sample():
    return {'tunnels': {'veth': tunnel({'tcp1': 16.0, 'rtt': 0.01}), 'warren-tun': tunnel({'tcp1': 9.0, 'rtt': 0.1}, {'tcp1': 7.0, 'rtt': 0.3}, {'tcp1': 8.0}),
                        'wireguard-go': tunnel({'tcp1': 2.0, 'rtt': 0.2}, version='0.0.1'), 'tinc': tunnel()},
            'rows': [{'name': 'resume, both ends', 'value': 0.2, 'unit': 'ms CPU'}, {'name': 'else', 'value': 12345.6, 'unit': '1/s'},
                     {'name': 'relay udp 512 B, delivered', 'value': 0.3, 'unit': 'Gbit/s'}, {'name': "relay udp 512 B, CPU, times coturn's", 'value': 3.0, 'unit': 'x'}],
            'figures': FIGURES, 'machine': 'a machine', 'date': '2020-01-01', 'round_count': 3}


def test_numbers():
    for value, want in ((None, '-'), (0, '0'), (1234567.8, '1,234,568'), (99.96, '100.0'), (12.34, '12.3'), (1.234, '1.23'), (0.1234, '0.123'), (0.00012, '0.0001'),
                        (-3.456, '-3.46')):
        assert report.number(value) == want, (value, report.number(value))


def test_medians_and_ratios():
    of = report.medians(sample())
    assert of['warren-tun'] == {'tcp1': 8.0, 'rtt': 0.2}, of
    assert of['tinc'] == {}
    assert report.ratio(of, 'warren-tun', 'wireguard-go', 'tcp1') == 4.0
    assert report.ratio(of, 'warren-tun', 'tinc', 'tcp1') is None
    assert report.ratio(of, 'nothing', 'veth', 'tcp1') is None


def test_goals():
    found = {what: (value, met) for what, value, _, met in report.goals(sample())}
    assert found['TCP, one stream, over wireguard-go'] == (4.0, True)
    assert found['TCP, one stream, over raw veth'] == (0.5, True)
    assert found['RTT idle, over tinc'] == (None, None)
    worse = sample()
    worse['tunnels']['wireguard-go']['rounds'] = [{'tcp1': 2.4}]
    assert {w: m for w, _, _, m in report.goals(worse)}['TCP, one stream, over wireguard-go'] is False
    assert report.row_goal({'name': 'resume, both ends', 'value': 0.2}) == ('at most 0.1', False)
    assert report.row_goal({'name': 'else', 'value': 0.2}) is None
    assert report.row_goal({'name': "relay udp 64 B sent one by one, CPU, times coturn's", 'value': 1.9}) == ('at least 2', False)
    assert report.row_goal({'name': 'node, CPU at rest, 1000 idle peers', 'value': 0.001}) is None


def test_tables():
    s = sample()
    text = report.tunnels_text(s)
    assert 'times wireguard-go 0.0.1' in text and 'times veth' in text and 'tinc' not in text, text
    line = next(x for x in text.splitlines() if x.startswith('TCP, one stream'))
    assert line.split()[-4:] == ['Gbit/s', '16.0', '8.00', '2.00'], line
    assert 'not measured' in report.goals_text(s) and 'not measured' not in report.goals_text(s, False)
    assert 'not met' in report.rows_text(s) and 'else' in report.rows_text(s) and 'else' not in report.rows_text(s, False)
    empty = {**s, 'tunnels': {}, 'rows': []}
    assert '|' not in report.readme(empty)
    assert [report.tunnels_text(empty), report.goals_text(empty, False), report.rows_text(empty)] == ['', '', '']


def test_readme():
    s = sample()
    table = report.readme(s)
    assert '| warren-tun 1 | 8.00 (4.00 x) | 0.200 |' in table, table
    assert 'of 3 rounds (veth of 1, wireguard-go of 1)' in table, table
    assert 'delivered' not in table and "| relay udp 512 B, CPU, times coturn's | 3.00 | x | at least 2: met |" in table, table
    widths = {line.count('|') for line in table.split('\n\n')[1].splitlines()}
    assert len(widths) == 1, table
    page = f'above\n{report.README_BEGIN}\nold\n{report.README_END}\nbelow\n'
    once = report.put_in(page, table)
    assert 'old' not in once and once.startswith('above\n') and once.endswith('below\n')
    assert report.put_in(once, table) == once
    for bad in ('', report.README_BEGIN, f'{report.README_END}{report.README_BEGIN}'):
        try:
            report.put_in(bad, table)
        except ValueError:
            continue
        raise AssertionError(f'taken: {bad!r}')


def test_chart():
    svg = chart.chart('a < b', 'below & so', [('TCP', 'Gbit/s', [('veth', 16.0, '16'), ('warren-tun', 8.0, '8 <'), ('x', 0.0, '0')]), ('none', 'ms', [])])
    dom = xml.dom.minidom.parseString(svg)
    widths = [r.getAttribute('width') for r in dom.getElementsByTagName('rect')][1:]
    assert float(widths[0]) == 2 * float(widths[1]) and float(widths[2]) == 1.0, widths
    assert float(widths[0]) + chart.LABEL + chart.VALUE <= chart.WIDTH
    assert [r.getAttribute('fill') for r in dom.getElementsByTagName('rect')][1:] == [chart.RAW, chart.OURS, chart.THEIRS]


def test_cleanest():
    limit = 700.0
    best = udp.cleanest(lambda rate: (min(rate, limit), max(0.0, 1 - limit / rate)), 0, 1000, 10)
    assert limit * 0.998 <= best <= limit * 1.002, best
    assert udp.cleanest(lambda rate: (rate, 1.0), 0, 1000) == 0.0


def main():
    bad = 0
    tests = [(n, f) for n, f in globals().items() if n.startswith('test_')]
    for i, (name, f) in enumerate(tests, 1):
        try:
            f()
            print(f'ok {i} - bench {name[5:]}')
        except AssertionError as e:
            bad += 1
            print(f'not ok {i} - bench {name[5:]}: {e}')
    return 1 if bad else 0


sys.exit(main())
