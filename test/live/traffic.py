"""Traffic between two hosts of the lab: a file over TCP with its hash, UDP, broadcast, multicast. Each program runs inside a namespace
and says `ready` when it listens, so that nothing waits by the clock."""
import json
import os
import re
import signal
import subprocess

RECEIVE_FILE = r'''
import hashlib, socket, sys, time, json
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((sys.argv[1], 7000)); s.listen(1); s.settimeout(60)
print("ready", flush=True)
c, _ = s.accept(); c.settimeout(60); h = hashlib.sha256(); n = 0; start = last = time.monotonic(); gap = 0
while True:
    b = c.recv(1 << 18); now = time.monotonic(); gap = max(gap, now - last); last = now
    if not b: break
    h.update(b); n += len(b)
print(json.dumps({"sha256": h.hexdigest(), "bytes": n, "seconds": time.monotonic() - start, "gap": gap}), flush=True)
'''
SEND_FILE = r'''
import hashlib, random, socket, sys, json
r = random.Random(int(sys.argv[3])); left = int(sys.argv[2]); h = hashlib.sha256()
s = socket.create_connection((sys.argv[1], 7000), 20); s.settimeout(60)
while left:
    b = r.randbytes(min(left, 1 << 20)); h.update(b); s.sendall(b); left -= len(b)
s.shutdown(socket.SHUT_WR)
print(json.dumps({"sha256": h.hexdigest()}), flush=True)
'''
RECEIVE_UDP = r'''
import socket, struct, sys, json
bind, port, group, device, want = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((bind, port))
if group:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                 struct.pack("4s4si", socket.inet_aton(group), socket.inet_aton("0.0.0.0"), socket.if_nametoindex(device)))
s.settimeout(10)
print("ready", flush=True)
got = []
try:
    while len(got) < want:
        b, a = s.recvfrom(65536); got.append([b.decode(), a[0]])
except TimeoutError:
    pass
print(json.dumps(got), flush=True)
'''
SEND_UDP = r'''
import socket, struct, sys
to, port, device, text, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 4)
for i in range(count): s.sendto(f"{text} {i}".encode(), (to, port))
'''


def ready(p):
    line = p.stdout.readline()
    if line.strip() != 'ready':
        raise RuntimeError(f'receiver did not come up: {line!r}')


class Sending:
    """A file on its way over TCP."""

    def __init__(self, sender, receiver, address, size, seed=1):
        self.size = size
        self.receiver = receiver.python(RECEIVE_FILE, address)
        ready(self.receiver)
        self.sender = sender.python(SEND_FILE, address, str(size), str(seed))

    def end(self):
        """{'sha256', 'bytes', 'seconds', 'gap'} as received (gap: the longest time in which nothing came), and whether the hashes agree."""
        sent = json.loads(self.sender.communicate(timeout=120)[0] or '{}')
        got = json.loads(self.receiver.communicate(timeout=120)[0] or '{}')
        return got, bool(sent) and sent.get('sha256') == got.get('sha256') and got.get('bytes') == self.size


def send_file(sender, receiver, address, size, seed=1):
    return Sending(sender, receiver, address, size, seed).end()


class Pinging:
    """The kernel's ping, every 10 ms, and the gaps in what came back."""

    def __init__(self, host, address, interval=0.01):
        self.path = os.path.join(host.lab.dir, f'ping.{host.name}.{len(host.lab.processes)}')
        self.process = host.spawn('ping', '-n', '-D', '-i', str(interval), address, stdout=open(self.path, 'w'), text=True)

    def replies(self):
        """[(calendar second, sequence number) ...] of those that came back so far."""
        with open(self.path) as f:
            return [(float(t), int(n)) for t, n in re.findall(r'^\[([\d.]+)\] .*icmp_seq=(\d+) .*time=', f.read(), re.M)]

    def gap(self, since, until):
        """The longest time without a reply between the two moments."""
        at = [since] + [t for t, _ in self.replies() if since < t < until] + [until]
        return max(b - a for a, b in zip(at, at[1:]))

    def end(self):
        """(sent, received)"""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)
        with open(self.path) as f:
            m = re.search(r'(\d+) packets transmitted, (\d+) received', f.read())
        return int(m.group(1)), int(m.group(2))


class Iperf:
    """iperf3 from one host to another, a figure each 100 ms."""

    def __init__(self, sender, receiver, address, seconds, *options):
        self.server = receiver.spawn('iperf3', '-s', '-1', '-B', address, '--forceflush', stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        receiver.lab.read_line(self.server, 'listening')
        self.client = sender.spawn('iperf3', '-c', address, '-t', str(seconds), '-i', '0.1', '-J', *options, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)

    def stop(self):
        self.client.send_signal(signal.SIGINT)

    def end(self, timeout=120):
        """{'mbit', 'gap' (s without a byte, as the sender sees it), 'retransmits', 'seconds', 'error'}"""
        r = json.loads(self.client.communicate(timeout=timeout)[0])
        pieces = [i['sum'] for i in r.get('intervals', [])]
        gap = longest = 0.0
        for p in pieces:
            gap = gap + p['seconds'] if p['bytes'] == 0 else 0.0
            longest = max(longest, gap)
        seconds = sum(p['seconds'] for p in pieces) or 1
        return {'mbit': sum(p['bytes'] for p in pieces) * 8 / seconds / 1e6, 'gap': longest, 'seconds': seconds,
                'retransmits': sum(p.get('retransmits', 0) for p in pieces), 'error': r.get('error', '')}


def send_udp(sender, receivers, to, device_of, port=7001, group='', count=3, text='hello'):
    """What each receiver got: {name: [[text, source], ...]}. device_of(host): the name of its Warren device."""
    listening = []
    for h in receivers:
        p = h.python(RECEIVE_UDP, group or '0.0.0.0', str(port), group, device_of(h), str(count))
        ready(p)
        listening.append((h, p))
    sender.run('python3', '-c', SEND_UDP, to, str(port), device_of(sender), text, str(count))
    return {h.name: json.loads(p.communicate(timeout=30)[0] or '[]') for h, p in listening}
