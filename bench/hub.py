"""The hub's figures: memory per idle client, logins, signaling messages per second and core. The hub is on end a, its load on end b."""
import json
import os
import time

import ground
from ground import ENDS, live

CLIENTS = int(os.environ.get('BENCH_CLIENTS', '1000'))
SIGNALING_SECONDS = 4
# The load comes from one address: no limit of a single one may be what is measured.
LIMITS = ('connections-per-ip=1000000', 'logins-per-minute-ip=100000', 'messages-per-s=100000', 'entries-per-minute=100000',
          'entries-per-minute-ip=1000000', 'udp-binds-per-s=1000', 'stun-per-s=1000000')


class Hub:
    def __init__(self, place):
        place.reset()
        lab, a = place.lab, place.a
        options = [word for limit in LIMITS for word in ('--limit', limit)]
        log = os.path.join(place.dir, 'hub.log')
        self.process = a.spawn(live.WARREN, '--state', os.path.join(place.dir, 'hub'), 'hub', '--listen', f'{ENDS[0]}:443', '--name', ENDS[0], *options,
                               stdout=live.subprocess.PIPE, stderr=place.log('hub.log'))
        self.url = lab.read_line(self.process, r'hub ready (https://\S+)', log).group(1)
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        live.stop(self.process)


def memory(place, row):
    with Hub(place) as hub:
        ground.settle(0.5)
        before, start = ground.rss_mb(hub.pid), time.monotonic()
        load = ['sh', '-c', f'ulimit -n $(ulimit -H -n); exec {ground.program("bench_hub_idle")} "$0" "$1"', hub.url, str(CLIENTS)]
        clients = ground.Receiver(place.b, *load)
        took = time.monotonic() - start
        ground.settle(2)
        each = (ground.rss_mb(hub.pid) - before) * 1e3 / CLIENTS
        row(f'hub memory per idle TLS client ({CLIENTS} clients)', each, 'kB')
        row('hub, idle clients per GB', 1e6 / each, 'clients')
        row('hub logins per second (clients on the same cores)', CLIENTS / took, '1/s')
        clients.end()


def signaling(place, row):
    with Hub(place) as hub:
        load = ground.Receiver(place.b, ground.program('bench_signaling'), hub.url, str(SIGNALING_SECONDS))
        before = ground.cpu_seconds(hub.pid)
        got = json.loads(load.ask())
        used = ground.cpu_seconds(hub.pid) - before
        load.end()
    if got['received'] < got['sent']:
        row('signaling messages lost', got['sent'] - got['received'], '')
    row('signaling messages per second and core of the hub', got['received'] / used, '1/s')
    row('signaling messages per second (16 members on the same cores)', got['received'] / got['seconds'], '1/s')
