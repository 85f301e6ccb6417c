"""Traffic between two hosts of the lab: a file over TCP with its hash, UDP, broadcast, multicast. Each program runs inside a namespace
and says `ready` when it listens, so that nothing waits by the clock."""
import json
import os

RECEIVE_FILE = r'''
import hashlib, socket, sys, time, json
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((sys.argv[1], 7000)); s.listen(1); s.settimeout(60)
print("ready", flush=True)
c, _ = s.accept(); c.settimeout(60); h = hashlib.sha256(); n = 0; start = time.monotonic()
while True:
    b = c.recv(1 << 18)
    if not b: break
    h.update(b); n += len(b)
print(json.dumps({"sha256": h.hexdigest(), "bytes": n, "seconds": time.monotonic() - start}), flush=True)
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


def send_file(sender, receiver, address, size, seed=1):
    """{'sha256', 'bytes', 'seconds'} as received, and whether the hashes agree."""
    r = receiver.python(RECEIVE_FILE, address)
    ready(r)
    s = sender.python(SEND_FILE, address, str(size), str(seed))
    sent = json.loads(s.communicate(timeout=120)[0] or '{}')
    got = json.loads(r.communicate(timeout=120)[0] or '{}')
    return got, bool(sent) and sent.get('sha256') == got.get('sha256') and got.get('bytes') == size


def send_udp(sender, receivers, to, device_of, port=7001, group='', count=3, text='hello'):
    """What each receiver got: {name: [[text, source], ...]}. device_of(host): the name of its Warren device."""
    listening = []
    for h in receivers:
        p = h.python(RECEIVE_UDP, group or '0.0.0.0', str(port), group, device_of(h), str(count))
        ready(p)
        listening.append((h, p))
    sender.run('python3', '-c', SEND_UDP, to, str(port), device_of(sender), text, str(count))
    return {h.name: json.loads(p.communicate(timeout=30)[0] or '[]') for h, p in listening}
