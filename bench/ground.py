"""The ground on which tunnels are measured: two network namespaces joined by one veth pair, and what processes cost.

              a 192.168.77.1 === eth0, MTU 1500 === 192.168.77.2 b

Both ends and the load run on this machine's cores. Namespaces and processes go with the lab (test/live/lab.py), also on Ctrl-C.
"""
import os
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, 'test', 'live'))
import lab as live  # noqa: E402

BUILD = os.path.dirname(live.WARREN)  # where `warren` is, the bench programs are
ENDS = ('192.168.77.1', '192.168.77.2')
INNER = ('10.199.0.1', '10.199.0.2')  # inside the tunnels that do not choose for themselves
TICKS = os.sysconf('SC_CLK_TCK')


def program(name):
    """The path of a bench program, or an error that says what to do."""
    path = os.path.join(BUILD, name)
    if not os.path.exists(path):
        raise live.LabError(f'no {path}: build it by `make`, `ninja -C build {name}`')
    return path


class Ground:
    """a and b: hosts of the lab (spawn, run, sh, ip). dir: a directory of one tunnel's run, gone with reset()."""

    def __init__(self, lab):
        self.lab = lab
        self.a, self.b = lab.host('a'), lab.host('b')
        lab.wire(self.a, 'eth0', self.b, 'eth0')
        for host, address in zip((self.a, self.b), ENDS):
            host.ip('addr', 'add', f'{address}/24', 'dev', 'eth0')
        self.runs = 0
        self.reset()

    def reset(self):
        """A fresh directory for what runs next."""
        if self.runs:
            shutil.rmtree(self.dir, ignore_errors=True)
        self.runs += 1
        self.dir = os.path.join(self.lab.dir, f'run{self.runs}')
        os.mkdir(self.dir)
        for host in (self.a, self.b):
            host.state = os.path.join(self.dir, host.name)

    def file(self, name, text=''):
        path = os.path.join(self.dir, name)
        with open(path, 'w') as f:
            f.write(text)
        os.chmod(path, 0o600)
        return path

    def log(self, name):
        return open(os.path.join(self.dir, name), 'ab')


def wait_ping(host, address, timeout=15, count=3):
    """Until so many pings in a row are answered."""
    def answered():
        return live.pings(host, address, count, timeout=0.3, interval=0.05)[0] == count
    live.wait_for(f'ping to {address}', answered, timeout=timeout)


def cpu_seconds(pid):
    """User and system time of a process with all its threads; 0 when it is gone."""
    try:
        with open(f'/proc/{pid}/stat') as f:
            fields = f.read().rsplit(')', 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def run_seconds(pid):
    """The same from the scheduler's own count, in nanoseconds, for what is too little for ticks."""
    total = 0
    for thread in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{thread}/schedstat') as f:
            total += int(f.read().split()[0])
    return total / 1e9


def rss_mb(pid):
    with open(f'/proc/{pid}/status') as f:
        for line in f:
            if line.startswith('VmRSS:'):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def machine_busy():
    """Seconds that the cores were busy since boot: all but idle, waiting for disks, and stolen."""
    with open('/proc/stat') as f:
        n = [int(x) for x in f.readline().split()[1:]]
    return (n[0] + n[1] + n[2] + n[5] + n[6]) / TICKS


class Meter:
    """Processor time between its making and read(): {'tunnel', 'machine'} in seconds."""

    def __init__(self, pids):
        self.pids = list(pids)
        self.start = self.now()

    def now(self):
        return sum(cpu_seconds(p) for p in self.pids), machine_busy()

    def read(self):
        tunnel, machine = self.now()
        return {'tunnel': tunnel - self.start[0], 'machine': machine - self.start[1]}


class Receiver:
    """A program that runs beside and answers lines: its standard output is read line by line."""

    def __init__(self, host, *argv):
        self.process = host.spawn(*argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.line('ready')

    def line(self, expected=None):
        got = self.process.stdout.readline().strip()
        if not got or (expected and not got.startswith(expected)):
            raise live.LabError(f'expected {expected or "a line"} and got {got!r}')
        return got

    def ask(self):
        self.process.stdin.write('\n')
        self.process.stdin.flush()
        return self.line()

    def end(self):
        self.process.stdin.close()
        live.stop(self.process)


def settle(seconds=0.2):
    """A moment for queues to drain and processes to end."""
    time.sleep(seconds)
