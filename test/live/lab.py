"""The live lab: hosts, routers with NAT and a hub, each in a network namespace of its own on this machine.

              alice            bob   carol
                | 192.168.1.0/24 |  /  192.168.2.0/24
             router-a         router-b            nftables masquerade, nothing forwarded inwards
                 \\              /
                 wan  198.51.100.0/24  --- hub 198.51.100.10

Everything is made by this process, named after its pid, and removed by close(), also after an interrupt. Needs root.
"""
import atexit
import ctypes
import datetime
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WARREN = os.environ.get('WARREN', os.path.join(ROOT, 'build', 'warren'))
HUB_IP = '198.51.100.10'
WAN = '198.51.100'
# Home routers, by how they filter. All drop what comes to themselves: a packet from outside that the router took for its own would
# hold the port that the peer behind it is about to use.
NAT_START = '''
table ip nat {
  map mapped { type inet_service : ipv4_addr . inet_service; flags dynamic, timeout; timeout 5m; }
  chain pre { type nat hook prerouting priority -100; PRE; }
  chain post { type nat hook postrouting priority 100; POST; }
}
table ip filter {
  set contacted { type ipv4_addr . inet_service . ipv4_addr; flags dynamic, timeout; timeout 5m; }
  chain input {
    type filter hook input priority 0; policy accept
    iifname "wan0" ct state new drop
  }
  chain forward {
    type filter hook forward priority 0; policy drop
    FORWARD
    iifname "lan0" oifname "wan0" accept
    iifname "lan1" oifname "wan0" accept
    ct state established,related accept
  }
}
'''
REMEMBER = 'oifname "wan0" meta l4proto udp update @mapped { udp sport : ip saddr . udp sport }'
RESTORE = 'iifname "wan0" meta l4proto udp dnat ip to udp dport map @mapped'
NAT_KINDS = {
    # what a flow got, all may answer to
    'cone': {'PRE': RESTORE, 'POST': f'{REMEMBER}; oifname "wan0" masquerade', 'FORWARD': 'iifname "wan0" ct status dnat accept'},
    # those addresses may answer that were sent to
    'address': {'PRE': RESTORE, 'POST': f'{REMEMBER}; oifname "wan0" masquerade',
                'FORWARD': 'oifname "wan0" meta l4proto udp update @contacted { ip saddr . udp sport . ip daddr }\n'
                           'iifname "wan0" meta l4proto udp ip daddr . udp dport . ip saddr @contacted accept'},
    # those ports
    'port': {'POST': 'oifname "wan0" masquerade'},
    # and every destination sees another port
    'symmetric': {'POST': 'oifname "wan0" masquerade fully-random'},
    # full cone, and inside they reach each other by their outside addresses
    'hairpin': {'PRE': f'{RESTORE}; iifname != "wan0" ip daddr OUTSIDE meta l4proto udp dnat ip to udp dport map @mapped',
                'POST': f'{REMEMBER}; oifname "wan0" masquerade; oifname != "wan0" ct status dnat snat to OUTSIDE',
                'FORWARD': 'ct status dnat accept'},
}


def nat_rules(kind, outside):
    rules = NAT_START
    for word in ('PRE', 'POST', 'FORWARD'):
        rules = rules.replace(word, NAT_KINDS[kind].get(word, 'counter'), 1)
    return rules.replace('OUTSIDE', outside)


class LabError(Exception):
    pass


def can_run():
    """None, or why the lab cannot run here."""
    if os.geteuid() != 0:
        return 'needs root to make network namespaces'
    for tool in ('ip', 'nft'):
        if not shutil.which(tool):
            return f'needs {tool}'
    name = f'wr{os.getpid()}probe'
    made = subprocess.run(['ip', 'netns', 'add', name], capture_output=True, text=True)
    if made.returncode != 0:
        return 'cannot make network namespaces: ' + made.stderr.strip()
    if made.returncode == 0:
        made = subprocess.run(['ip', '-n', name, 'link', 'set', 'lo', 'up'], capture_output=True, text=True)
    subprocess.run(['ip', 'netns', 'del', name], capture_output=True)
    if made.returncode != 0:
        return 'cannot work in a network namespace: ' + made.stderr.strip()
    if not os.path.exists('/dev/net/tun'):
        return 'has no /dev/net/tun'
    return None


def die_with_parent():
    """Runs in the child: a lab whose process was killed outright leaves no program behind."""
    ctypes.CDLL('libc.so.6', use_errno=True).prctl(1, signal.SIGKILL)


def run(args, check=True, timeout=30, **kw):
    r = subprocess.run(args, capture_output=True, text=True, timeout=timeout, **kw)
    if check and r.returncode != 0:
        raise LabError(f'{" ".join(args)}: exit {r.returncode}: {(r.stderr or r.stdout).strip()}')
    return r


class Host:
    def __init__(self, lab, name):
        self.lab, self.name, self.ns = lab, name, f'wr{os.getpid()}{name}'
        run(['ip', 'netns', 'add', self.ns])
        lab.hosts.append(self)
        self.ip('link', 'set', 'lo', 'up')
        self.sh('for d in all default; do echo 0 >/proc/sys/net/ipv6/conf/$d/accept_dad; done', check=False)
        self.state = os.path.join(lab.dir, name)
        self.node = None

    def ip(self, *args):
        return run(['ip', '-n', self.ns, *args])

    def args(self, argv):
        return ['ip', 'netns', 'exec', self.ns, *argv]

    def run(self, *argv, check=True, timeout=30, **kw):
        return run(self.args(argv), check=check, timeout=timeout, **kw)

    def sh(self, script, check=True, timeout=30):
        return self.run('sh', '-c', script, check=check, timeout=timeout)

    def spawn(self, *argv, **kw):
        p = subprocess.Popen(self.args(argv), preexec_fn=die_with_parent, **kw)
        self.lab.processes.append(p)
        return p

    def python(self, code, *args, **kw):
        return self.spawn(sys.executable, '-c', code, *args, stdout=subprocess.PIPE, text=True, **kw)

    # -- Warren on this host --
    def warren(self, *argv, check=True, timeout=40, **kw):
        return self.run(WARREN, '--state', self.state, *argv, check=check, timeout=timeout, **kw)

    def up(self, *argv, wait=True):
        """Starts the daemon; its log goes to STATE.log."""
        log = open(self.state + '.log', 'ab')
        self.node = self.spawn(WARREN, '--state', self.state, 'up', '--name', self.name, *argv, stdout=subprocess.PIPE,
                               stderr=log)
        if wait:
            self.lab.read_line(self.node, r'node ready (wn-\S+)', self.state + '.log')
        return self.node

    def down(self, sig=signal.SIGTERM):
        stop(self.node, sig)
        self.node = None

    def status(self):
        return json.loads(self.warren('--json', 'status').stdout)

    def party(self, i=0):
        return self.status()['parties'][i]

    def peer(self, name, i=0):
        for p in self.party(i)['peers']:
            if p['name'] == name:
                return p
        return None

    def log(self):
        with open(self.state + '.log', errors='replace') as f:
            return f.read()

    def moves(self, peer_id):
        """[(calendar second, from, to) ...]: which path carried when, from the daemon's log."""
        found = []
        for m in re.finditer(rf'^time=(\S+)Z .*event=path-changed peer={peer_id} from=(\S+) to=(\S+)', self.log(), re.M):
            at = datetime.datetime.fromisoformat(m.group(1) + '+00:00').timestamp()
            found.append((at, m.group(2), m.group(3)))
        return found

    def cut(self, *rules, hook='forward', priority=-10):
        """Rules of the kind that drop; whatever was there before goes."""
        self.mend()
        self.run('nft', '-f', '-', input='table ip cut { chain c { type filter hook %s priority %d; policy accept\n%s\n}\n}'
                 % (hook, priority, '\n'.join(rules)))

    def mend(self):
        self.run('nft', 'delete', 'table', 'ip', 'cut', check=False)


def stop(p, sig=signal.SIGTERM, timeout=10):
    if p is None or p.poll() is not None:
        return
    # `ip netns exec` replaces itself by the program, so the pid is the program's own
    p.send_signal(sig)
    try:
        p.wait(timeout)
    except subprocess.TimeoutExpired:
        p.kill()
        p.wait()


NATBOX_SOURCES = ['test/live/natbox.c', 'sim/nat.c', 'sim/link.c', 'sim/clock.c', 'sim/addr.c', 'src/base/addr.c', 'src/base/bytes.c', 'src/base/text.c', 'src/base/rng.c']


def program(lab, name, sources):
    """A program of the lab's own, compiled once in this lab's directory."""
    path = os.path.join(lab.dir, name)
    if not os.path.exists(path):
        run([os.environ.get('CC', 'cc'), '-std=c17', '-D_GNU_SOURCE', '-O2', '-I', ROOT, '-I', os.path.join(ROOT, 'src'),
             *[os.path.join(ROOT, s) for s in sources], '-o', path], timeout=120)
    return path


def remove_orphans():
    """Namespaces of a lab whose process was killed outright."""
    for line in subprocess.run(['ip', 'netns', 'list'], capture_output=True, text=True).stdout.splitlines():
        m = re.match(r'wr(\d+)[a-z]\w*', line)
        if m and not os.path.exists(f'/proc/{m.group(1)}'):
            subprocess.run(['ip', 'netns', 'del', line.split()[0]], capture_output=True)


class Lab:
    def __init__(self, wan=WAN):
        remove_orphans()
        self.wan_net, self.hub_ip = wan, f'{wan}.10'
        self.hosts, self.processes, self.closed = [], [], False
        self.dir = tempfile.mkdtemp(prefix='warren-lab-')
        os.chmod(self.dir, 0o700)
        atexit.register(self.close)
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, self.interrupted)
        self.veths = 0
        self.hub_url = None
        self.hub_process = None

    def interrupted(self, signum, frame):
        self.close()
        os._exit(128 + signum)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        if self.closed:
            return
        self.closed = True
        for p in reversed(self.processes):
            if p.poll() is None:
                p.terminate()
        end = time.monotonic() + 5
        for p in self.processes:
            try:
                p.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        for h in reversed(self.hosts):
            subprocess.run(['ip', 'netns', 'del', h.ns], capture_output=True)
        if os.environ.get('WARREN_KEEP_LAB'):
            print('kept', self.dir, file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def host(self, name):
        return Host(self, name)

    def wire(self, a, a_dev, b, b_dev):
        """A veth pair between two hosts."""
        self.veths += 1
        x, y = f'wr{os.getpid() % 100000}x{self.veths}', f'wr{os.getpid() % 100000}y{self.veths}'
        run(['ip', 'link', 'add', x, 'type', 'veth', 'peer', 'name', y])
        for dev, host, name in ((x, a, a_dev), (y, b, b_dev)):
            run(['ip', 'link', 'set', dev, 'netns', host.ns])
            host.ip('link', 'set', dev, 'name', name)
            host.ip('link', 'set', name, 'up')

    def bridge(self, host, name):
        host.ip('link', 'add', name, 'type', 'bridge')
        host.ip('link', 'set', name, 'up')

    def internet(self):
        """The public network: a bridge in a namespace, and the hub on it."""
        self.wan = self.host('wan')
        self.bridge(self.wan, 'br0')
        self.wan.ip('addr', 'add', f'{self.wan_net}.1/24', 'dev', 'br0')  # whither what belongs nowhere goes; it forwards nothing
        self.hub_host = self.host('hub')
        self.join_wan(self.hub_host, self.hub_ip)

    def join_wan(self, host, address):
        dev = f'p{self.veths}'
        self.wire(self.wan, dev, host, 'wan0')
        self.wan.ip('link', 'set', dev, 'master', 'br0')
        # no two of them are neighbours, as on the Internet
        host.ip('addr', 'add', f'{address}/32', 'dev', 'wan0')
        host.ip('route', 'add', f'{self.wan_net}.0/24', 'dev', 'wan0', 'src', address)
        host.ip('route', 'add', 'default', 'via', f'{self.wan_net}.1')

    def nat(self, router, inside='lan0', kind='port', outside='0.0.0.0'):
        """Makes a host forward for those on its `inside` device, as a home router does."""
        router.sh('echo 1 >/proc/sys/net/ipv4/ip_forward')
        router.run('nft', '-f', '-', input=nat_rules(kind, outside).replace('lan0', inside))

    def natbox(self, router, outside, *options):
        """The same by test/live/natbox.c, for kinds and lines that the kernel cannot make."""
        box = router.spawn(program(self, 'natbox', NATBOX_SOURCES), 'boxin', 'boxout', outside, *options, stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE)
        self.read_line(box, 'ready')
        for dev in ('boxin', 'boxout'):
            router.ip('link', 'set', dev, 'up', 'txqueuelen', '5000')
        # the address outside is the box's alone; the router only answers for it and passes its packets on
        router.sh('cd /proc/sys/net/ipv4; echo 1 >ip_forward; echo 0 >conf/all/rp_filter; echo 0 >conf/lan0/rp_filter; '
                  'echo 0 >conf/boxin/rp_filter; echo 0 >conf/boxout/rp_filter; echo 0 >conf/wan0/rp_filter')
        router.ip('neigh', 'add', 'proxy', outside, 'dev', 'wan0')
        router.ip('route', 'add', outside, 'dev', 'boxout')
        router.ip('rule', 'add', 'iif', 'lan0', 'table', '100')
        router.ip('route', 'add', 'default', 'dev', 'boxin', 'table', '100')
        return box

    def lan(self, router, network, hosts, device='lan0'):
        """Hosts on a switch of the router's: NETWORK.10, .11, ..."""
        self.bridge(router, device)
        router.sh('echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables', check=False)  # the rules of a router are not for its switch
        router.ip('addr', 'add', f'{network}.1/24', 'dev', device)
        made = []
        for i, name in enumerate(hosts):
            h = self.host(name)
            self.wire(router, f'{device}h{i}', h, 'eth0')
            router.ip('link', 'set', f'{device}h{i}', 'master', device)
            h.ip('addr', 'add', f'{network}.{10 + i}/24', 'dev', 'eth0')
            h.ip('route', 'add', 'default', 'via', f'{network}.1')
            made.append(h)
        return made

    def home(self, letter, number, hosts, nat='port', box=None):
        """A home: a router with NAT towards the public network, and hosts on 192.168.NUMBER.0/24 behind it. box: natbox's options."""
        router = self.host(f'router{letter}')
        outside = f'{self.wan_net}.{100 + number}'
        self.join_wan(router, f'{self.wan_net}.{200 + number}' if box is not None else outside)
        made = self.lan(router, f'192.168.{number}', hosts)
        if box is not None:
            router.box = self.natbox(router, outside, *box)
        else:
            self.nat(router, kind=nat, outside=outside)
        for h in made:
            h.router = router
        return made

    def read_line(self, process, pattern, log=None, timeout=20):
        """The first line of the process' stdout that matches; the match."""
        end, text = time.monotonic() + timeout, b''
        fd = process.stdout.fileno()
        while time.monotonic() < end:
            if select.select([fd], [], [], 0.1)[0]:
                piece = os.read(fd, 4096)
                if not piece:
                    break
                text += piece
                m = re.search(pattern, text.decode(errors='replace'))
                if m:
                    return m
            elif process.poll() is not None:
                break
        tail = open(log).read()[-2000:] if log and os.path.exists(log) else ''
        raise LabError(f'no line like {pattern!r} (exit {process.poll()}): {text!r}\n{tail}')

    def start_hub(self, *argv, port=443):
        log = open(os.path.join(self.dir, 'hub.log'), 'ab')
        self.hub_process = self.hub_host.spawn(WARREN, '--state', self.hub_host.state, 'hub', '--listen', f'{self.hub_ip}:{port}',
                                               '--name', self.hub_ip, *argv, stdout=subprocess.PIPE, stderr=log)
        self.hub_url = self.read_line(self.hub_process, r'hub ready (https://\S+)', os.path.join(self.dir, 'hub.log')).group(1)
        return self.hub_url

    def stop_hub(self, sig=signal.SIGTERM):
        stop(self.hub_process, sig)
        self.hub_process = None

    def two_homes(self, *third, nats=('port', 'port'), boxes=(None, None)):
        """The usual picture: alice behind one NAT, bob (and others) behind another, a hub outside."""
        self.internet()
        (alice,) = self.home('a', 1, ['alice'], nats[0], boxes[0])
        rest = self.home('b', 2, ['bob', *third], nats[1], boxes[1])
        return (alice, *rest)

    def hub_metric(self, name):
        text = self.hub_host.run('curl', '-sk', f'https://{self.hub_ip}/metrics').stdout
        m = re.search(rf'^{re.escape(name)} (\S+)$', text, re.M)
        return float(m.group(1)) if m else 0.0

    def relayed(self):
        """Bytes that the hub relayed so far, by TCP and UDP."""
        return self.hub_metric('warren_hub_relay_bytes_total') + self.hub_metric('warren_hub_udp_bytes_total')


def wait_for(what, condition, timeout=10, step=0.02):
    """Polls a condition of the world outside this process; the seconds that it took."""
    start = time.monotonic()
    while True:
        value = condition()
        if value:
            return time.monotonic() - start
        if time.monotonic() - start > timeout:
            raise LabError(f'not within {timeout} s: {what}')
        time.sleep(step)


def pings(host, address, count=1, timeout=1.0, interval=0.2, size=56):
    """The kernel's own ping: (received, [rtt_ms ...])."""
    r = host.run('ping', '-n', '-c', str(count), '-i', str(interval), '-W', str(timeout), '-s', str(size), address, check=False,
                 timeout=count * (interval + timeout) + 10)
    rtts = [float(x) for x in re.findall(r'time=([\d.]+) ms', r.stdout)]
    return len(rtts), rtts
