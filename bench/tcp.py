"""TCP through a tunnel (iperf3): one stream, the same in reverse, four streams; and what one stream costs in processor time."""
import json
import os
import subprocess

import ground

SECONDS = float(os.environ.get('BENCH_TCP_SECONDS', '2'))
OMIT = 0.5  # of slow start
FIGURES = {
    'tcp1': ('TCP, one stream', 'Gbit/s', 'higher'),
    'tcp1r': ('TCP, one stream, other direction', 'Gbit/s', 'higher'),
    'tcp4': ('TCP, four streams', 'Gbit/s', 'higher'),
    'cpu_gb': ('CPU of the tunnel, both ends, per GB', 's', 'lower'),
    'busy_gb': ('CPU of the whole machine per GB, load included', 's', 'lower'),
    'rss': ('memory of one end under load', 'MB', 'lower'),
}


class Iperf:
    def __init__(self, tunnel, address, seconds, *options):
        self.server = tunnel.ground.b.spawn('iperf3', '-s', '-1', '-B', address, '--forceflush', stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        tunnel.ground.lab.read_line(self.server, 'listening')
        self.client = tunnel.ground.a.spawn('iperf3', '-c', address, '-t', str(seconds), '-J', *options, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL, text=True)
        self.seconds = seconds

    def end(self):
        """(bits per second as the receiver counts them, bytes sent in all, with what was omitted)"""
        try:
            out = self.client.communicate(timeout=self.seconds + 15)[0]
        except subprocess.TimeoutExpired:
            self.client.kill()
            raise ground.live.LabError('iperf3 did not end') from None
        finally:
            ground.live.stop(self.server)
        r = json.loads(out or '{}')
        got = r.get('end', {}).get('sum_received')
        if not got:
            raise ground.live.LabError('iperf3: ' + r.get('error', 'no result'))
        return got['bits_per_second'], sum(i['sum']['bytes'] for i in r['intervals'])


def stream(tunnel, *options):
    return Iperf(tunnel, tunnel.addresses[1], SECONDS + OMIT, '-O', str(OMIT), *options).end()


def measure(tunnel, known):
    """known: figures of this tunnel in this round so far."""
    meter = ground.Meter(tunnel.pids())
    rate, moved = stream(tunnel)
    cost = meter.read()
    found = {'tcp1': rate / 1e9, 'busy_gb': cost['machine'] / (moved / 1e9)}
    if tunnel.pids():
        found['cpu_gb'] = cost['tunnel'] / (moved / 1e9)
        found['rss'] = ground.rss_mb(tunnel.pids()[0])
    found['tcp1r'] = stream(tunnel, '-R')[0] / 1e9
    found['tcp4'] = stream(tunnel, '-P', '4')[0] / 1e9
    return found
