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
NAT_RULES = '''
table ip nat {
  chain post {
    type nat hook postrouting priority 100
    oifname "wan0" masquerade
  }
}
table ip filter {
  chain forward {
    type filter hook forward priority 0; policy drop
    iifname "lan0" accept
    ct state established,related accept
  }
}
'''


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


def remove_orphans():
    """Namespaces of a lab whose process was killed outright."""
    for line in subprocess.run(['ip', 'netns', 'list'], capture_output=True, text=True).stdout.splitlines():
        m = re.match(r'wr(\d+)[a-z]+\b', line)
        if m and not os.path.exists(f'/proc/{m.group(1)}'):
            subprocess.run(['ip', 'netns', 'del', line.split()[0]], capture_output=True)


class Lab:
    def __init__(self):
        remove_orphans()
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
        self.hub_host = self.host('hub')
        self.join_wan(self.hub_host, HUB_IP)

    def join_wan(self, host, address):
        dev = f'p{self.veths}'
        self.wire(self.wan, dev, host, 'wan0')
        self.wan.ip('link', 'set', dev, 'master', 'br0')
        host.ip('addr', 'add', f'{address}/24', 'dev', 'wan0')

    def nat(self, router, inside):
        """Makes a host forward for those on its `inside` device, as a home router does."""
        router.sh('echo 1 >/proc/sys/net/ipv4/ip_forward')
        router.run('nft', '-f', '-', input=NAT_RULES.replace('lan0', inside))

    def home(self, letter, number, hosts):
        """A home: a router with NAT towards the public network, and hosts on 192.168.NUMBER.0/24 behind it."""
        router = self.host(f'router{letter}')
        self.join_wan(router, f'198.51.100.{100 + number}')
        self.bridge(router, 'lan0')
        router.ip('addr', 'add', f'192.168.{number}.1/24', 'dev', 'lan0')
        self.nat(router, 'lan0')
        made = []
        for i, name in enumerate(hosts):
            h = self.host(name)
            self.wire(router, f'h{i}', h, 'eth0')
            router.ip('link', 'set', f'h{i}', 'master', 'lan0')
            h.ip('addr', 'add', f'192.168.{number}.{10 + i}/24', 'dev', 'eth0')
            h.ip('route', 'add', 'default', 'via', f'192.168.{number}.1')
            made.append(h)
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
        self.hub_process = self.hub_host.spawn(WARREN, '--state', self.hub_host.state, 'hub', '--listen', f'{HUB_IP}:{port}',
                                               '--name', HUB_IP, *argv, stdout=subprocess.PIPE, stderr=log)
        self.hub_url = self.read_line(self.hub_process, r'hub ready (https://\S+)', os.path.join(self.dir, 'hub.log')).group(1)
        return self.hub_url

    def stop_hub(self, sig=signal.SIGTERM):
        stop(self.hub_process, sig)
        self.hub_process = None

    def two_homes(self, *third):
        """The usual picture: alice behind one NAT, bob (and others) behind another, a hub outside."""
        self.internet()
        (alice,) = self.home('a', 1, ['alice'])
        rest = self.home('b', 2, ['bob', *third])
        return (alice, *rest)


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
