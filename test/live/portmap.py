#!/usr/bin/env python3
"""Port mapping with a router that is not ours: miniupnpd in a namespace of its own, and our port mapper in the home behind it. TAP.

    test/live/portmap.py            all
    test/live/portmap.py NAME ...   only these

    outside 9.9.100.10 --- router 9.9.100.101 | 192.168.7.1 --- inside 192.168.7.10

The outside addresses are not those of documentation, as elsewhere in the lab: miniupnpd refuses to map ports on those.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab as live  # noqa: E402
from lab import Lab, LabError, stop, wait_for  # noqa: E402

PORT = 41641
OUTSIDE, ROUTER, LAN_ROUTER, INSIDE = '9.9.100.10', '9.9.100.101', '192.168.7.1', '192.168.7.10'
MINIUPNPD = shutil.which('miniupnpd') or '/usr/sbin/miniupnpd'
SOURCES = ['test/live/portmap_client.c', 'src/nat/portmap.c', 'src/nat/portmap_input.c', 'src/wire/portmap.c', 'src/base/addr.c',
           'src/base/bytes.c', 'src/base/rng.c', 'src/base/text.c']
CONFIG = '''ext_ifname=wan0
listening_ip=lan0
http_port=0
enable_natpmp=yes
enable_upnp=yes
secure_mode=yes
min_lifetime=120
max_lifetime=86400
upnp_table_name=upnp
upnp_nat_table_name=upnp
upnp_forward_chain=forward_upnp
upnp_nat_chain=prerouting_upnp
upnp_nat_postrouting_chain=postrouting_upnp
uuid=5d2f3e2c-9a8f-4f0b-8f0e-2f6b1c7d9e10
lease_file=@DIR@/leases
allow 1024-65535 192.168.7.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
'''
RULES = '''
table ip nat {
  chain post { type nat hook postrouting priority 110; oifname "wan0" masquerade; }
}
table inet upnp {
  chain forward {
    type filter hook forward priority 0; policy drop;
    iifname "lan0" accept
    ct state established,related accept
    jump forward_upnp
  }
  chain forward_upnp { }
  chain prerouting { type nat hook prerouting priority -100; jump prerouting_upnp; }
  chain postrouting { type nat hook postrouting priority 100; jump postrouting_upnp; }
  chain prerouting_upnp { }
  chain postrouting_upnp { }
}
'''
TESTS = []


def test(f):
    TESTS.append(f)
    return f


def check(condition, what):
    if not condition:
        raise LabError(what)


class Client:
    """portmap_client in the home; its lines are read as they are waited for."""

    def __init__(self, home, methods, kind='udp'):
        self.home, self.text, self.at = home, '', 0
        self.process = home.inside.spawn(home.program, LAN_ROUTER, INSIDE, kind, str(PORT), methods, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE)
        os.set_blocking(self.process.stdout.fileno(), False)

    def read(self):
        piece = self.process.stdout.read()
        self.text += piece.decode() if piece else ''

    def wait(self, pattern, timeout=15):
        """The next line that matches, behind those that were waited for before."""
        found = []

        def here():
            self.read()
            m = re.compile(pattern, re.M).search(self.text, self.at)
            if m:
                found.append(m)
            elif self.process.poll() is not None:
                raise LabError(f'portmap_client ended: {self.text}')
            return m

        try:
            wait_for(f'a line like {pattern!r}', here, timeout)
        except LabError as e:
            raise LabError(f'{e}\n{self.text}\n{self.home.log_tail()}') from None
        self.at = found[0].end()
        return found[0]

    def say(self, line):
        self.process.stdin.write(line.encode() + b'\n')
        self.process.stdin.flush()


class Home:
    def __init__(self, lab, alone=True, rules=RULES):
        """alone: with an Internet and a client of its own; else it joins the one that is there."""
        self.lab = lab
        self.router, self.inside = lab.host('router'), lab.host('inside')
        if alone:
            self.program = build(lab.dir)
            lab.wan = lab.host('wan')
            lab.bridge(lab.wan, 'br0')
            lab.wan.ip('addr', 'add', f'{lab.wan_net}.1/24', 'dev', 'br0')
            self.outside = lab.host('outside')
            lab.join_wan(self.outside, OUTSIDE)
        lab.join_wan(self.router, ROUTER)
        lab.wire(self.router, 'lan0', self.inside, 'eth0')
        self.router.ip('addr', 'add', f'{LAN_ROUTER}/24', 'dev', 'lan0')
        self.inside.ip('addr', 'add', f'{INSIDE}/24', 'dev', 'eth0')
        self.inside.ip('route', 'add', 'default', 'via', LAN_ROUTER)
        # miniupnpd sends its multicast by the routes
        self.router.ip('route', 'add', '224.0.0.0/4', 'dev', 'lan0')
        self.inside.ip('route', 'add', '239.0.0.0/8', 'dev', 'eth0')
        self.router.sh('echo 1 >/proc/sys/net/ipv4/ip_forward')
        self.router.run('nft', '-f', '-', input=rules)
        self.daemon = None

    def start_daemon(self):
        config, self.log_path = os.path.join(self.lab.dir, 'miniupnpd.conf'), os.path.join(self.lab.dir, 'miniupnpd.log')
        with open(config, 'w') as f:
            f.write(CONFIG.replace('@DIR@', self.lab.dir))
        log = open(self.log_path, 'ab')
        self.daemon = self.router.spawn(MINIUPNPD, '-d', '-f', config, '-P', os.path.join(self.lab.dir, 'miniupnpd.pid'), stdout=log,
                                        stderr=log, stdin=subprocess.DEVNULL)

        def listens():
            if self.daemon.poll() is not None:
                raise LabError('miniupnpd does not start: ' + self.log_tail())
            return ':5351' in self.router.run('ss', '-lun').stdout

        wait_for('miniupnpd listens', listens)

    def log_tail(self):
        return open(self.log_path, errors='replace').read()[-2000:] if self.daemon else ''

    def redirects(self):
        return self.router.run('nft', 'list', 'chain', 'inet', 'upnp', 'prerouting_upnp').stdout

    def reach(self, client, port, text):
        """A datagram from outside to the mapped port, and its echo."""
        code = ('import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(5)\n'
                f's.sendto(b"{text}", ("{ROUTER}", {port}))\nprint(s.recvfrom(100))\n')
        out = self.outside.run(sys.executable, '-c', code).stdout
        check(text in out and f"('{ROUTER}', {port})" in out, f'the echo came from the mapped port: {out!r}')
        client.wait(rf'^datagram {text} from {re.escape(OUTSIDE)}:\d+')


def build(folder):
    program = os.path.join(folder, 'portmap_client')
    r = subprocess.run([os.environ.get('CC', 'cc'), '-std=c17', '-D_GNU_SOURCE', '-O1', '-g', '-Wall', '-Wextra',
                        '-Wno-unused-parameter', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-I',
                        os.path.join(live.ROOT, 'src'), *[os.path.join(live.ROOT, s) for s in SOURCES], '-o', program],
                       capture_output=True, text=True)
    if r.returncode != 0:
        raise LabError('portmap_client does not compile: ' + r.stderr)
    return program


def mapping_lives(home, client, method):
    """Mapped, reachable, renewed, deleted."""
    m = client.wait(rf'^mapped udp {method} {re.escape(ROUTER)}:(\d+) {PORT} (\d+) usable')
    port, lifetime = int(m.group(1)), int(m.group(2))
    check(port == PORT, f'the port that was suggested, not {port}')
    check(str(PORT) in home.redirects(), 'the redirection is in the tables')
    home.reach(client, port, 'hello')
    client.say(f'jump {lifetime * 5 // 8 + 1}')
    client.wait(rf'^asked {method}')
    client.wait(r'^answer \d+ 0')
    home.reach(client, port, 'renewed')
    client.say('status')
    left = int(client.wait(rf'^status udp {PORT} is {re.escape(ROUTER)}:{port} outside \({method}, (\d+) s left\)').group(1))
    check(left > lifetime - 30, f'{left} s left of {lifetime} after a renewal')
    client.say('stop')
    client.wait(rf'^asked {method}')
    client.wait('^idle')
    wait_for('the redirection is gone', lambda: str(PORT) not in home.redirects(), timeout=5)


@test
def pcp():
    """PCP: a mapping, a datagram from outside through it, renewal, deletion."""
    with Lab(wan='9.9.100') as lab:
        home = Home(lab)
        home.start_daemon()
        mapping_lives(home, Client(home, 'pcp'), 'PCP')


@test
def natpmp():
    """The same by NAT-PMP, where PCP's requests are lost."""
    with Lab(wan='9.9.100') as lab:
        home = Home(lab)
        home.start_daemon()
        mapping_lives(home, Client(home, 'natpmp'), 'NAT-PMP')


@test
def router_restarts():
    """The router's daemon dies with its rules; its successor's clock gives it away, and everything is mapped again."""
    with Lab(wan='9.9.100') as lab:
        home = Home(lab)
        home.start_daemon()
        client = Client(home, 'pcp')
        client.wait(rf'^mapped udp PCP {re.escape(ROUTER)}:{PORT}')
        stop(home.daemon, signal.SIGKILL)
        home.router.run('nft', 'flush', 'chain', 'inet', 'upnp', 'prerouting_upnp')
        home.router.run('nft', 'flush', 'chain', 'inet', 'upnp', 'forward_upnp')
        leases = os.path.join(lab.dir, 'leases')
        if os.path.exists(leases):
            os.unlink(leases)
        # some of the first life's hours pass for the client, none for the router: as if that had run for long
        client.say('jump 600')
        home.start_daemon()
        heard = client.wait(r'^(announcement|asked PCP)', timeout=20).group(1)
        print(f'# what brought it about: {"the announcement" if heard == "announcement" else "the renewal"}')
        wait_for('mapped again', lambda: str(PORT) in home.redirects(), timeout=20)
        home.reach(client, PORT, 'again')


@test
def nobody_there():
    """A router without port mapping: said in words after four seconds, and UPnP is wanted meanwhile."""
    with Lab(wan='9.9.100') as lab:
        home = Home(lab)
        client = Client(home, 'pcp')
        start = time.monotonic()
        client.wait('^want-upnp udp')
        client.say('upnp -19')
        client.wait('^failed udp .*no answer')
        took = time.monotonic() - start
        check(3 < took < 6, f'it gave up after {took:.1f} s')


@test
def upnp():
    """UPnP, by upnpc's hands: what it maps is taken, reachable, and dropped at the end."""
    if not shutil.which('upnpc'):
        return 'upnpc is not installed'
    with Lab(wan='9.9.100') as lab:
        home = Home(lab)
        home.start_daemon()
        client = Client(home, 'none')
        client.wait('^want-upnp udp')
        out = home.inside.run('upnpc', '-m', 'eth0', '-a', INSIDE, str(PORT), str(PORT), 'UDP', '3600').stdout
        check(ROUTER in out, f'upnpc mapped: {out}')
        client.say(f'upnp {ROUTER} {PORT} 3600')
        client.wait(rf'^mapped udp UPnP {re.escape(ROUTER)}:{PORT}')
        home.reach(client, PORT, 'by upnp')
        client.say('stop')
        client.wait(rf'^drop-upnp udp UPnP {re.escape(ROUTER)}:{PORT}')
        home.inside.run('upnpc', '-m', 'eth0', '-d', str(PORT), 'UDP')
        check(str(PORT) not in home.redirects(), 'the redirection is gone')


def main():
    why = live.can_run()
    if not why and not os.path.exists(MINIUPNPD):
        why = 'needs miniupnpd'
    wanted = sys.argv[1:]
    tests = [t for t in TESTS if not wanted or t.__name__ in wanted]
    failed = 0
    print(f'1..{len(tests)}', flush=True)
    for n, t in enumerate(tests, 1):
        skip = why
        start = time.monotonic()
        try:
            skip = skip or t()
            done = f'# SKIP {skip}' if skip else f'({time.monotonic() - start:.1f} s)'
            print(f'ok {n} - live portmap_{t.__name__} {done}', flush=True)
        except Exception as e:  # one story's failure must not hide the others'
            failed += 1
            print(f'not ok {n} - live portmap_{t.__name__}: ' + str(e).replace('\n', '\n# '), flush=True)
            if not isinstance(e, LabError):
                traceback.print_exc(file=sys.stdout)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
