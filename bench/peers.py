"""The tunnels that are measured side by side. Each class finds its program (an environment variable with a path, then what
`tools/setup bench` fetched, then PATH), says its version, and comes up between the two ends of the ground.

    start()     leaves `addresses` (inside, of a and of b) and everything running
    pids()      its processes: end a, end b, then what else it needs
    stop()
"""
import os
import re
import shutil
import socket
import subprocess
import time

import ground
from ground import ENDS, INNER, live

CACHE = os.path.join(os.environ.get('WARREN_CACHE') or os.path.join(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'), 'warren'), 'bench')
MTU = 1420
REFERENCE_VERSION = '0.0.20231211'  # of wireguard-go: ratios are to it
GET_DEBIAN = 'tools/setup bench'


def first_line(*argv):
    r = subprocess.run(argv, capture_output=True, text=True, errors='replace', timeout=10)
    return ((r.stdout or r.stderr).strip().splitlines() or [''])[0]


def find(variable, name):
    """Paths of a program, best first. What the environment names counts alone."""
    given = os.environ.get(variable)
    if given:
        return [given] if shutil.which(given) else []
    path = f'{os.environ.get("PATH", "")}:/usr/sbin:/usr/local/sbin'
    kept = [os.path.join(CACHE, d, 'usr', 'bin', name) for d in sorted(os.listdir(CACHE), reverse=True)] if os.path.isdir(CACHE) else []
    found = [p for p in kept if os.access(p, os.X_OK)]
    system = shutil.which(name, path=path)
    return found + ([system] if system else [])


class Tunnel:
    name = note = ''
    get = GET_DEBIAN
    minor = False  # no target speaks of it: measured in the first round only

    def __init__(self):
        self.missing = None   # why it cannot run here
        self.version = ''
        self.processes = []
        self.prepare()

    def spawn(self, host, *argv, **kw):
        kw.setdefault('stdout', self.ground.log(f'{self.name}.{host.name}.log'))
        p = host.spawn(*argv, stderr=subprocess.STDOUT, **kw)
        self.processes.append(p)
        return p

    def hosts(self):
        return self.ground.a, self.ground.b

    def pids(self):
        return [p.pid for p in self.processes if p.poll() is None]

    def up(self, ground_):
        """start(), and what of it is there when it fails."""
        self.ground = ground_
        self.ground.reset()
        self.processes = []
        try:
            self.start()
            ground.wait_ping(self.ground.a, self.addresses[1])
        except Exception:
            self.stop()
            raise

    def stop(self):
        for p in reversed(self.processes):
            live.stop(p)
        self.processes = []

    def await_device(self, host, device):
        live.wait_for(f'{device} of {self.name}', lambda: host.run('ip', 'link', 'show', device, check=False).returncode == 0)

    def address(self, device):
        """Gives both ends their address on a device that the tunnel made."""
        for host, ip in zip(self.hosts(), INNER):
            self.await_device(host, device)
            host.ip('addr', 'add', f'{ip}/24', 'dev', device)
            host.ip('link', 'set', device, 'mtu', str(MTU), 'up')
        self.addresses = INNER


class Veth(Tunnel):
    name, note = 'veth', 'raw veth pair, no tunnel'

    def prepare(self):
        self.version = os.uname().release

    def start(self):
        self.addresses = ENDS


class Warren(Tunnel):
    """Two nodes and a hub beside end a; measured when the pair is on a direct path."""
    get = 'make'
    LIMITS = ('--limit', 'mtu=1418')  # as the others', less what an Ethernet header needs; the default is smaller, for IPv6 below

    def __init__(self, mode, cipher, name):
        self.mode, self.cipher, self.name = mode, cipher, name
        self.note = f'{mode.upper()}, {cipher.upper()}'
        super().__init__()

    def prepare(self):
        if not os.access(live.WARREN, os.X_OK):
            self.missing = f'no {live.WARREN}'
            return
        self.version = first_line(live.WARREN, '--version').replace('warren', '').strip()

    def start(self):
        a, b = self.hosts()
        lab = self.ground.lab
        hub = a.spawn(live.WARREN, '--state', os.path.join(self.ground.dir, 'hub'), 'hub', '--listen', f'{ENDS[0]}:443', '--name', ENDS[0],
                      stdout=subprocess.PIPE, stderr=self.ground.log('hub.log'))
        self.hub = hub
        url = lab.read_line(hub, r'hub ready (https://\S+)', os.path.join(self.ground.dir, 'hub.log')).group(1)
        self.processes = [a.up('--hub', url, *self.LIMITS)]
        a.warren('party', 'create', 'bench', '--mode', self.mode, '--cipher', self.cipher)
        invite = a.warren('invite').stdout
        self.processes.append(b.up(*self.LIMITS))
        self.processes.append(hub)
        b.warren('join', '-', input=invite)
        live.wait_for('a direct path', self.direct, timeout=15)
        cipher = a.peer('b')['cipher']
        if cipher.lower() != self.cipher:
            raise live.LabError(f'the session has {cipher}')
        self.addresses = tuple(h.party()['ip'].split('/')[0] for h in (a, b))
        self.mtu = a.party()['mtu']

    def direct(self):
        return all((h.peer(other) or {}).get('path') in ('lan', 'udp') for h, other in ((self.ground.a, 'b'), (self.ground.b, 'a')))


class WireGuardGo(Tunnel):
    """By its UAPI socket: nothing of wireguard-tools is needed. WIREGUARD_GO is taken whatever its version; else that of the figures."""
    note = 'ChaCha20-Poly1305'

    def __init__(self, name='wireguard-go', version=REFERENCE_VERSION):
        self.name, self.wanted = name, version
        super().__init__()

    def prepare(self):
        seen = []
        variable = 'WIREGUARD_GO' if self.wanted == REFERENCE_VERSION else 'WIREGUARD_GO_OLD'
        for path in find(variable, 'wireguard-go'):
            version = wireguard_go_release(path)
            seen.append(version)
            if version == self.wanted or os.environ.get(variable):
                self.path, self.version = path, version
                return
        self.missing = f'{self.wanted} wanted' + (f', {" and ".join(seen)} found' if seen else '')

    def start(self):
        self.device = f'wg{os.getpid()}'
        keys = [x25519_pair() for _ in range(2)]
        for i, host in enumerate(self.hosts()):
            device = f'{self.device}{host.name}'  # the sockets of both ends lie in one folder
            self.spawn(host, self.path, '-f', device, env={**os.environ, 'WG_PROCESS_FOREGROUND': '1'})
            self.await_device(host, device)
            uapi(device, private_key=keys[i][0], listen_port=51820, public_key=keys[1 - i][1], endpoint=f'{ENDS[1 - i]}:51820', allowed_ip='0.0.0.0/0')
            host.ip('addr', 'add', f'{INNER[i]}/24', 'dev', device)
            host.ip('link', 'set', device, 'mtu', str(MTU), 'up')
        self.addresses = INNER

    def stop(self):
        super().stop()
        for end in ('a', 'b'):
            try:
                os.unlink(uapi_path(f'{self.device}{end}'))
            except (OSError, AttributeError):
                pass


def wireguard_go_release(path):
    """0.0.20231211 calls itself 0.0.20230223; what came with it are the segmentation offloads of UDP."""
    m = re.search(r'v?(\d+\.\d+\.\d+)', first_line(path, '--version'))
    said = m.group(1) if m else '?'
    if said == '0.0.20230223':
        with open(path, 'rb') as f:
            if b'udpGRO' in f.read():
                return REFERENCE_VERSION
    return said


def uapi_path(device):
    return f'/var/run/wireguard/{device}.sock'


def uapi(device, **settings):
    """wireguard.com/xplatform, `set`."""
    live.wait_for('the UAPI socket', lambda: os.path.exists(uapi_path(device)))
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(uapi_path(device))
        s.sendall(('set=1\n' + ''.join(f'{k}={v}\n' for k, v in settings.items()) + '\n').encode())
        answer = s.recv(4096).decode()
    if 'errno=0' not in answer:
        raise live.LabError(f'wireguard-go refuses its settings: {answer!r}')


def x25519_pair():
    """(private, public) in hex, by the command line of OpenSSL."""
    private = subprocess.run(['openssl', 'genpkey', '-algorithm', 'X25519', '-outform', 'DER'], capture_output=True, check=True).stdout
    public = subprocess.run(['openssl', 'pkey', '-inform', 'DER', '-pubout', '-outform', 'DER'], input=private, capture_output=True, check=True).stdout
    return private[-32:].hex(), public[-32:].hex()


class Simple(Tunnel):
    """One found program."""
    variable = program = ''

    def prepare(self):
        found = find(self.variable, self.program)
        if not found:
            given = os.environ.get(self.variable)
            self.missing = f'{self.variable}={given} is no program' if given else f'no {self.program} in PATH'
            return
        self.path = found[0]
        m = re.search(self.version_pattern, subprocess.run([self.path, *self.version_args], capture_output=True, text=True, errors='replace').stdout)
        self.version = m.group(1) if m else '?'


class Nebula(Simple):
    name, variable, program, note = 'nebula', 'NEBULA', 'nebula', 'AES-256-GCM'
    minor = True
    version_args, version_pattern = ('-version',), r'Version: (\S+)'

    def prepare(self):
        super().prepare()
        if not self.missing:
            beside = os.path.join(os.path.dirname(self.path), 'nebula-cert')
            self.cert = os.environ.get('NEBULA_CERT') or (beside if os.path.exists(beside) else shutil.which('nebula-cert'))
            if not self.cert:
                self.missing = 'no nebula-cert beside it'

    def start(self):
        d = self.ground.dir
        live.run([self.cert, 'ca', '-name', 'bench'], cwd=d)
        for i, host in enumerate(self.hosts()):
            live.run([self.cert, 'sign', '-name', host.name, '-ip', f'{INNER[i]}/24'], cwd=d)
            config = self.ground.file(f'{host.name}.yml', f'''
pki: {{ca: {d}/ca.crt, cert: {d}/{host.name}.crt, key: {d}/{host.name}.key}}
static_host_map: {{"{INNER[1 - i]}": ["{ENDS[1 - i]}:4242"]}}
lighthouse: {{am_lighthouse: {"true" if i == 0 else "false"}, hosts: {[INNER[0]] if i else []}}}
listen: {{host: "{ENDS[i]}", port: 4242}}
cipher: aes
tun: {{dev: nebula1, mtu: {MTU}}}
firewall:
  outbound: [{{port: any, proto: any, host: any}}]
  inbound: [{{port: any, proto: any, host: any}}]
''')
            self.spawn(host, self.path, '-config', config)
        for host in self.hosts():
            self.await_device(host, 'nebula1')
        self.addresses = INNER


class Tinc(Simple):
    name, variable, program, note = 'tinc', 'TINCD', 'tincd', 'its default, AES-256-CBC and SHA-256'
    version_args, version_pattern = ('--version',), r'tinc version (\S+)'

    def start(self):
        hosts = self.hosts()
        for i, host in enumerate(hosts):
            d = os.path.join(self.ground.dir, f'tinc-{host.name}')
            os.makedirs(os.path.join(d, 'hosts'))
            with open(os.path.join(d, 'tinc.conf'), 'w') as f:
                f.write(f'Name = {host.name}\nInterface = tinc0\nAddressFamily = ipv4\n' + ('ConnectTo = a\n' if i else ''))
            with open(os.path.join(d, 'hosts', host.name), 'w') as f:  # no search for the path's MTU: it is known, and takes 10 s
                f.write(f'Address = {ENDS[i]}\nSubnet = {INNER[i]}/32\nPMTUDiscovery = no\n')
            live.run([self.path, '-c', d, '-K', '2048'], stdin=subprocess.DEVNULL)
        for one, other in (('a', 'b'), ('b', 'a')):
            shutil.copy(os.path.join(self.ground.dir, f'tinc-{one}', 'hosts', one), os.path.join(self.ground.dir, f'tinc-{other}', 'hosts', one))
        for host in hosts:
            d = os.path.join(self.ground.dir, f'tinc-{host.name}')
            self.spawn(host, self.path, '-D', '-c', d, f'--pidfile={d}/pid')
        self.address('tinc0')


class N2n(Simple):
    name, variable, program, note = 'n2n', 'N2N_EDGE', 'edge', 'Twofish, as its default is'
    minor = True
    version_args, version_pattern = ('-h',), r'n2n v\.(\S+)'

    def prepare(self):
        super().prepare()
        found = find('N2N_SUPERNODE', 'supernode')
        if not self.missing and not found:
            self.missing = 'no supernode in PATH'
        self.supernode = found[0] if found else None

    def start(self):
        a = self.ground.a
        key = os.urandom(12).hex()
        self.spawn(a, self.supernode, '-l', '7654')  # first: an edge that does not find it asks again after a minute only
        live.wait_for('the supernode', lambda: '7654' in a.run('ss', '-Hlun').stdout)
        for i, host in enumerate(self.hosts()):
            self.spawn(host, self.path, '-d', 'n2n0', '-a', INNER[i], '-s', '255.255.255.0', '-c', 'bench', '-l', f'{ENDS[0]}:7654', '-M', '1400',
                       *(['-f'] if self.forks() else []), env={**os.environ, 'N2N_KEY': key})
        self.processes.append(self.processes.pop(0))
        for host in self.hosts():
            self.await_device(host, 'n2n0')
        self.addresses = INNER
        ground.wait_ping(a, INNER[1], timeout=60)
        live.wait_for('a direct path of n2n', self.direct, timeout=30)

    def forks(self):
        """Since 2.0 `-f` keeps it in the foreground; before, it made it a daemon."""
        return not self.version.startswith('1.')

    def direct(self):
        """Whether pings no longer pass the supernode: it sleeps while they are answered."""
        pid = self.processes[2].pid
        before = ground.run_seconds(pid)
        n, _ = live.pings(self.ground.a, INNER[1], 20, interval=0.01)
        return n == 20 and ground.run_seconds(pid) - before < 0.0002


class OpenVpn(Simple):
    name, variable, program, note = 'openvpn', 'OPENVPN', 'openvpn', 'AES-256-GCM, UDP, no kernel offload'
    minor = True
    version_args, version_pattern = ('--version',), r'OpenVPN (\S+)'

    def start(self):
        d = self.ground.dir
        prints = []
        for host in self.hosts():
            live.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', f'/CN={host.name}',
                      '-keyout', f'{d}/{host.name}.key', '-out', f'{d}/{host.name}.crt'])
            prints.append(live.run(['openssl', 'x509', '-in', f'{d}/{host.name}.crt', '-noout', '-fingerprint', '-sha256']).stdout.strip().split('=')[1])
        known = subprocess.run([self.path, '--help'], capture_output=True, text=True).stdout
        dco = ['--disable-dco'] if 'disable-dco' in known else []
        for i, host in enumerate(self.hosts()):
            role = ['--tls-server', '--dh', 'none'] if i == 0 else ['--tls-client', '--remote', ENDS[0]]
            self.spawn(host, self.path, '--dev', 'tun0', '--proto', 'udp', '--port', '1194', *role, '--ifconfig', INNER[i], INNER[1 - i], '--cert', f'{d}/{host.name}.crt',
                       '--key', f'{d}/{host.name}.key', '--peer-fingerprint', prints[1 - i], '--data-ciphers', 'AES-256-GCM', '--tun-mtu', str(MTU), '--keepalive', '10', '60',
                       *dco)
        self.addresses = INNER


def every():
    """All that can be asked for, in the order of the table."""
    return [Veth(), Warren('tun', 'aes-256-gcm', 'warren-tun'), Warren('tap', 'aes-256-gcm', 'warren-tap'),
            Warren('tun', 'chacha20-poly1305', 'warren-chacha'), WireGuardGo(), WireGuardGo('wireguard-go-old', '0.0.20220316'), Nebula(), Tinc(),
            N2n(), OpenVpn()]


BY_NAME_ONLY = ('wireguard-go-old',)  # Debian 12's; not in a run of all
