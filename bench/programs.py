"""Numbers of programs that stand for themselves. Each is built beside `warren`, is run once on end b with the arguments below, and prints JSON
lines {"name", "value", "unit"}; anything else that it prints is shown. A new one is a line in PROGRAMS; its targets are in report.py.

In the arguments {url} and {hub_pid} are those of a hub on end a, started for this program alone with the limits of hub.py; without them
no hub is started. WARREN in the environment is the path of `warren`. Those of ALONE need no namespaces, and so no root."""
import json
import os
import subprocess

import ground
import hub

TIMEOUT = 180
PROGRAMS = {  # --only NAME: (program, arguments)
    'handshake': ('bench_handshake', ()),
    'worker': ('bench_pump_cost', ()),
    'relay-udp': ('bench_relay_udp', ('{url}', '{hub_pid}')),
    'relay-ws': ('bench_relay_ws', ('{url}', '{hub_pid}', '2')),
    'memory': ('bench_memory', ('3',)),
}
ALONE = ('handshake', 'worker')


def take(text, row):
    """JSON lines become rows; the rest is given back."""
    rest = []
    for line in text.splitlines():
        try:
            r = json.loads(line)
            row(r['name'], float(r['value']), r.get('unit', ''))
        except (ValueError, KeyError, TypeError):
            rest.append(line)
    return rest


def run(place, name, row):
    program, arguments = PROGRAMS[name]
    path = ground.program(program)
    if any('{' in a for a in arguments):
        with hub.Hub(place) as h:
            done = start(place, path, [a.format(url=h.url, hub_pid=h.pid) for a in arguments])
    else:
        done = start(place, path, arguments)
    for line in take(done.stdout, row) + done.stderr.splitlines():
        print(f'    {line}', flush=True)
    if done.returncode:
        raise ground.live.LabError(f'{program}: exit {done.returncode}')


def start(place, path, arguments):
    how = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True, 'env': {**os.environ, 'WARREN': ground.live.WARREN}}
    load = place.b.spawn(path, *arguments, **how) if place else subprocess.Popen([path, *arguments], **how)
    try:
        out, err = load.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        ground.live.stop(load)
        raise ground.live.LabError(f'{os.path.basename(path)} did not end within {TIMEOUT} s') from None
    return subprocess.CompletedProcess(path, load.returncode, out, err)
