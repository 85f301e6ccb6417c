"""UDP through a tunnel: what arrives under a flood of 64, 512 and 1200 bytes (ordinary sends, and with UDP_SEGMENT, as QUIC's senders do it), and the
highest rate of which less than 0.1 % is lost. The load is bench/udp_flood.c; sizes are of the UDP payload."""
import json

import ground

SIZES = (64, 512, 1200)
CLEAN = (1200,)  # whose highest rate without loss is looked for
SEGMENTS = 32
FLOOD_SECONDS = 0.8
PACED_SECONDS = 0.4
STEPS = 5           # of the search
LOSS = 0.001
PORT = 7100
FIGURES = {}
for _size in SIZES:
    FIGURES[f'udp{_size}'] = (f'UDP {_size} B delivered under flood', 'Mbit/s', 'higher')
    FIGURES[f'pps{_size}'] = (f'UDP {_size} B delivered under flood', 'kpps', '')
    FIGURES[f'offered{_size}'] = (f'UDP {_size} B offered', 'kpps', '')
for _size in CLEAN:
    FIGURES[f'clean{_size}'] = (f'UDP {_size} B, most with < 0.1 % lost', 'kpps', 'higher')
FIGURES['udp1200s'] = ('UDP 1200 B delivered, sender with UDP_SEGMENT', 'Mbit/s', 'higher')
FIGURES['late'] = ('UDP delivered behind a later one', '%', '')
runs = 0


def send(tunnel, receiver, size, seconds, rate, segments=1):
    """(datagrams sent, seconds of sending, and what the receiver counted)"""
    global runs
    runs += 1
    r = tunnel.ground.a.run(ground.program('bench_udp_flood'), 'send', tunnel.addresses[1], str(PORT), str(size), str(seconds), str(rate), str(runs), str(segments))
    sent = json.loads(r.stdout)
    total = {'packets': 0, 'late': 0, 'seconds': 0.0}
    for _ in range(50):  # until nothing more comes
        ground.settle(0.05)
        got = json.loads(receiver.ask())
        if got['run'] != runs or got['packets'] == 0:
            break
        for key in total:
            total[key] += got[key]
    return sent, total


def cleanest(offer, low, high, steps=STEPS):
    """The highest rate in [low, high] that offer(rate) carries with less than LOSS: bisection. offer -> (delivered rate, loss)."""
    best = 0.0
    for _ in range(steps):
        rate = (low + high) / 2
        delivered, loss = offer(rate)
        if loss < LOSS:
            best, low = max(best, delivered), rate
        else:
            high = rate
    return best


def measure(tunnel, known):
    receiver = ground.Receiver(tunnel.ground.b, ground.program('bench_udp_flood'), 'receive', str(PORT))
    found, packets, late = {}, 0, 0

    def offer(rate):
        sent, got = send(tunnel, receiver, size, PACED_SECONDS, rate)
        lost = 1 - got['packets'] / max(1, sent['packets'])
        return got['packets'] / sent['seconds'], lost

    def flood(segments=1):
        sent, got = send(tunnel, receiver, size, FLOOD_SECONDS, 0, segments)
        return sent['packets'] / sent['seconds'], got['packets'] / max(got['seconds'], sent['seconds']), got

    for size in SIZES:
        send(tunnel, receiver, size, 0.1, 1000)  # wakes what sleeps
        offered, rate, got = flood()
        packets, late = packets + got['packets'], late + got['late']
        found.update({f'udp{size}': rate * size * 8 / 1e6, f'pps{size}': rate / 1e3, f'offered{size}': offered / 1e3})
        if size in CLEAN:
            found[f'clean{size}'] = cleanest(offer, 0, rate * 1.3) / 1e3
    found['udp1200s'] = flood(SEGMENTS)[1] * size * 8 / 1e6
    found['late'] = 100 * late / max(1, packets)
    receiver.end()
    return found
