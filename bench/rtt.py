"""Round trips through a tunnel: alone, and beside one TCP stream at half of what this tunnel carried in this round."""
import re

import ground
import tcp

PINGS, LOADED, INTERVAL = 500, 300, 0.01
FIGURES = {
    'rtt': ('RTT idle, median', 'ms', 'lower'),
    'rtt_p99': ('RTT idle, 99th percentile', 'ms', 'lower'),
    'rtt_load': ('RTT beside TCP at half rate, median', 'ms', 'lower'),
    'rtt_load_p99': ('RTT beside TCP at half rate, 99th percentile', 'ms', 'lower'),
    'rtt_added': ('RTT added by half load, median', 'ms', ''),
}


def ping(tunnel, count):
    """(median, 99th percentile) in ms."""
    r = tunnel.ground.a.run('ping', '-n', '-c', str(count), '-i', str(INTERVAL), '-W', '1', tunnel.addresses[1], check=False, timeout=60)
    times = sorted(float(x) for x in re.findall(r'time=([\d.]+) ms', r.stdout))
    if len(times) < count // 2:
        raise ground.live.LabError(f'only {len(times)} of {count} pings came back')
    return times[len(times) // 2], times[len(times) * 99 // 100]


def measure(tunnel, known):
    ground.settle()
    idle = ping(tunnel, PINGS)
    found = {'rtt': idle[0], 'rtt_p99': idle[1]}
    rate = known.get('tcp1') or tcp.stream(tunnel)[0] / 1e9
    load = tcp.Iperf(tunnel, tunnel.addresses[1], LOADED * INTERVAL + 1.2, '-b', str(int(rate * 0.5e9)))
    ground.settle(0.5)
    loaded = ping(tunnel, LOADED)
    found['half_load'] = load.end()[0] / 1e9
    found.update(rtt_load=loaded[0], rtt_load_p99=loaded[1], rtt_added=loaded[0] - idle[0])
    return found
