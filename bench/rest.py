"""What a connected tunnel costs when nothing is asked of it: processor time of both ends, by the scheduler's own count."""
import time

import ground

SECONDS = 3
ONCE = True  # in the first round only
FIGURES = {'rest': ('CPU at rest, one end', '%', 'lower')}


def measure(tunnel, known):
    pids = tunnel.pids()[:2]
    if not pids:
        return {}
    ground.settle(8)  # what follows traffic for some seconds (ways are measured, neighbours looked for) is no rest
    before, start = sum(ground.run_seconds(p) for p in pids), time.monotonic()
    time.sleep(SECONDS)
    used = sum(ground.run_seconds(p) for p in pids) - before
    return {'rest': 100 * used / (time.monotonic() - start) / len(pids)}
