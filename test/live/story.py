"""What the live stories share: the list of them, checks, and a party of running nodes."""
import functools
import re
import shutil

from lab import LabError, wait_for

TESTS = []


def test(f):
    TESTS.append(f)
    return f


def needs(*programs):
    """A story that is skipped where one of these is not installed."""
    def of(f):
        @functools.wraps(f)
        def run_it():
            missing = [p for p in programs if not shutil.which(p)]
            return f'needs {" and ".join(missing)}' if missing else f()
        return run_it
    return of


def check(condition, what):
    if not condition:
        raise LabError(what)


def equal(got, want, what):
    if got != want:
        raise LabError(f'{what}: expected {want!r}, got {got!r}')


def refused(result, *words):
    """A command that must fail with exit 1 and one clear line that holds the words."""
    equal(result.returncode, 1, f'exit code ({result.stdout.strip()} {result.stderr.strip()})')
    line = result.stderr.strip()
    check(len(line.splitlines()) == 1, f'one line on stderr, got {line!r}')
    for w in words:
        check(re.search(w, line, re.I), f'{w!r} in {line!r}')


def device(host):
    return host.party()['device']


def ip(host, i=0):
    return host.party(i)['ip'].split('/')[0]


def connected(host, name):
    p = host.peer(name)
    return bool(p) and p['state'] == 'connected'


def party_of(lab, *names, uses=None, hub=()):
    """A running party: the first of the hosts makes it, the others join by one invite. hub: its options. Returns the invite."""
    first, rest = names[0], names[1:]
    lab.start_hub(*hub)
    first.up('--hub', lab.hub_url)
    first.warren('party', 'create', 'home')
    invite = first.warren('invite', '--uses', str(uses or max(1, len(rest)))).stdout.strip()
    for h in rest:
        h.up()
        h.warren('join', '-', input=invite)
    for a in names:
        for b in names:
            if a is not b:
                wait_for(f'{a.name} connected to {b.name}', lambda: connected(a, b.name))
    return invite


def path_to(host, name, i=0):
    p = host.peer(name, i)
    return p['path'] if p else 'none'


def await_path(host, name, kinds, timeout=10, step=0.05):
    """Until traffic to that member goes by one of these kinds; the seconds that it took."""
    kinds = kinds.split()
    try:
        return wait_for(f'{host.name} to {name} by {" or ".join(kinds)}', lambda: path_to(host, name) in kinds, timeout, step)
    except LabError as e:
        p = host.peer(name) or {}
        raise LabError(f'{e}; it is {p.get("path")}: {p.get("why")}\n' + '\n'.join(p.get('tried', []))) from None


def await_pair(a, b, kinds, timeout=10):
    """The same from both ends."""
    return max(await_path(a, b.name, kinds, timeout), await_path(b, a.name, kinds, timeout))
