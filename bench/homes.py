"""Two homes behind NATs and a hub (test/live): how soon a machine that joins is there, what the relay adds, what a path's death costs."""
import time

import ground
from ground import live

import traffic  # noqa: E402  of test/live, as ground found it
from story import await_pair  # noqa: E402


def relayed(lab, row):
    alice, bob = lab.two_homes()
    lab.start_hub()
    alice.up('--hub', lab.hub_url, '--no-direct')
    bob.up('--no-direct')
    row('node at rest, no party', ground.rss_mb(bob.node.pid), 'MB')
    alice.warren('party', 'create', 'bench')
    joins = []
    for i in range(5):
        invite = alice.warren('invite').stdout
        start = time.monotonic()
        bob.warren('join', '-', input=invite)
        address = alice.party()['ip'].split('/')[0]
        while not live.pings(bob, address, 1, timeout=0.2)[0]:
            if time.monotonic() - start > 20:
                raise live.LabError('no ping within 20 s')
        joins.append(time.monotonic() - start)
        if i < 4:
            bob.warren('party', 'leave')
            bob.down()
            bob.run('rm', '-rf', bob.state)
            bob.up('--no-direct')
    row('join to first ping, median of 5', sorted(joins)[2] * 1000, 'ms')
    bobs = bob.party()['ip'].split('/')[0]
    legs = [sorted(live.pings(h, live.HUB_IP, 50, interval=0.01)[1])[25] for h in (alice, bob)]
    inner = sorted(live.pings(alice, bobs, 200, interval=0.01)[1])
    row('ping through the relay, median', inner[100], 'ms')
    row('added by the relay to the bare legs, median', inner[100] - sum(legs), 'ms')
    row('TCP through the relay, 64 MiB', send(alice, bob, bobs, 64), 'Mbit/s')
    row('node in a party of two', ground.rss_mb(bob.node.pid), 'MB')


def send(sender, receiver, address, mib):
    got, same = traffic.send_file(sender, receiver, address, mib << 20)
    if not same:
        raise live.LabError('the file did not arrive whole')
    return got['bytes'] * 8 / got['seconds'] / 1e6


def direct(lab, row):
    alice, bob = lab.two_homes()
    lab.start_hub()
    alice.up('--hub', lab.hub_url)
    bob.up()
    alice.warren('party', 'create', 'bench')
    invite = alice.warren('invite').stdout
    joined = time.time()
    bob.warren('join', '-', input=invite)
    await_pair(alice, bob, 'udp', 10)
    moves = [at - joined for a, b in ((alice, 'bob'), (bob, 'alice')) for at, _, to in a.moves(a.peer(b)['id']) if to == 'udp']
    row('join to the direct path, the later end', max(moves) * 1000, 'ms')
    bobs = bob.party()['ip'].split('/')[0]
    row('TCP on the direct path through two NATs, 256 MiB', send(alice, bob, bobs, 256), 'Mbit/s')
    steady = traffic.Pinging(bob, alice.party()['ip'].split('/')[0])
    live.wait_for('pings', lambda: len(steady.replies()) > 20)
    gaps = []
    for _ in range(5):
        at = time.time()
        alice.router.cut(*[f'ip {side} 198.51.100.102 drop' for side in ('saddr', 'daddr')])
        await_pair(alice, bob, 'ws-relay udp-relay', 10)
        live.wait_for('pings by relay', lambda: [t for t, _ in steady.replies() if t > at + 1.5], timeout=10)
        gaps.append(steady.gap(at - 0.05, at + 1.5))
        if len(gaps) == 1:
            row('TCP through the UDP relay, 64 MiB', send(alice, bob, bobs, 64), 'Mbit/s')
        alice.router.mend()
        await_pair(alice, bob, 'udp', 90)
    steady.end()
    row('direct path cut silently: longest gap of 5', max(gaps) * 1000, 'ms')
