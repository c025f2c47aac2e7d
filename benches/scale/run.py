"""How the cost of an event and the memory grow with agents, windows, log size and idle files, and what a restart takes. See README.md."""

import argparse
import contextlib
import http.client
import json
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PEERS = HERE.parent / "peers"
sys.path[:0] = [str(HERE.parent), str(PEERS / "replay"), str(PEERS / "live")]

import generate  # noqa: E402
import measure  # noqa: E402
from measure import median, ratio, spread  # noqa: E402

# Bytes of a line, about.
LINE = 214


def log(events, agents, seed=1):
    """A directory with a log, made once."""
    home = measure.work(f"scale-{events}-{agents}-{seed}")
    path = home / "events.jsonl"
    if not path.exists():
        print(f"  writing {events:,} events of {agents:,} agents", file=sys.stderr, flush=True)
        part = home / "events.part"
        generate.write_large(part, events, agents, seed)
        part.rename(path)
    return home


def replayed(home, *more):
    return measure.run([measure.runtape(), "replay", "--events", home, "-o", "text", *more])


class Halves:
    """A replay of the first half of a log and one of all of it: what an event of the second half costs, when everybody is known and windows are full."""

    def __init__(self, home, events, *more):
        self.half, self.whole = replayed(home, "--at", str(events // 2), *more), replayed(home, *more)
        self.further = (self.whole.cpu - self.half.cpu) / (events - events // 2) * 1e9
        self.rss = self.whole.rss
        # A row for each, below a head and above two lines about the whole.
        self.agents = self.whole.printed.count(b"\n") - 3


def costs(runs, events):
    return spread([run.cpu / events * 1e9 for run in runs], 0), f"{events / median([run.wall for run in runs]) / 1e3:,.0f}"


def both(runs, events):
    return [spread([run.further for run in runs], 0), *costs([run.whole for run in runs], events)]


def by_agents(given):
    events = given.events
    programs = {agents: lambda agents=agents: Halves(log(events, agents), events) for agents in (10, 100, 1000, 10_000, 100_000)}
    results = measure.interleaved(programs, given.repeats)
    base = median([run.rss for run in results[10]])
    rows = []
    for agents, runs in results.items():
        memory = median([run.rss for run in runs])
        met = runs[0].agents
        each = f"{(memory - base) * 1e3 / met:,.1f}" if agents >= 1000 else ""
        rows.append([f"{met:,}", *both(runs, events), f"{memory:,.0f}", each])
    print(f"{events:,} events, all consumers, {given.repeats} repeats in turns; drawn by Zipf's law, so that of many agents some never come.\n")
    print(measure.table(["agents met", "CPU ns per further event [min-max]", "per event, with start and answer", "thousand events/s", "peak MB", "kB per agent"], rows))


def policy(window):
    path = measure.work("policies") / f"{window}.toml"
    path.write_text(f"[rolling]\nwindow = {window}\n[gates]\nwindow = {window}\n[confidence]\nwindow = {window}\n")
    return path


def by_window(given):
    events, agents = given.events, 10
    home = log(events, agents)
    programs = {window: lambda window=window: Halves(home, events, "--policy", policy(window)) for window in (50, 500, 5000, 50_000)}
    results = measure.interleaved(programs, given.repeats)
    base = median([run.rss for run in results[50]])
    rows = []
    for window, runs in results.items():
        memory = median([run.rss for run in runs])
        each = f"{(memory - base) * 1e6 / agents / window:,.0f}" if window > 50 else ""
        rows.append([f"{window:,}", *both(runs, events), f"{memory:,.0f}", each])
    print(f"{events:,} events of {agents} agents, the windows of `rolling`, `gates` and `confidence` as long as said, {given.repeats} repeats in turns.\n")
    print(measure.table(["window", "CPU ns per further event [min-max]", "per event, with start and answer", "thousand events/s", "peak MB", "bytes per place"], rows))


def by_size(given):
    rows = []
    for size in given.sizes:
        events = int(size * 1e9 / LINE)
        home = log(events, 200)
        run = replayed(home)
        gigabytes = (home / "events.jsonl").stat().st_size / 1e9
        rows.append([f"{gigabytes:.2f}", f"{events:,}", *costs([run], events), f"{run.wall:,.1f}", f"{run.rss:,.0f}"])
    print("200 agents, all consumers, one run each.\n")
    print(measure.table(["log, GB", "events", "CPU ns per event", "thousand events/s", "replay s", "peak MB"], rows))


@contextlib.contextmanager
def serving(home, log_file):
    from_port = free_port()
    address = f"127.0.0.1:{from_port}"
    with open(log_file, "ab") as out:
        command = [measure.runtape(), "serve", "--events", home, "--listen", address]
        server = subprocess.Popen([str(part) for part in command], stdout=out, stderr=out)
    try:
        yield address, server
    finally:
        server.terminate()
        server.wait()


def free_port():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until_ready(address, server, limit):
    start = time.perf_counter()
    host, port = address.split(":")
    while time.perf_counter() - start < limit:
        if server.poll() is not None:
            raise RuntimeError("the server ended; see server.log")
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(host, int(port), timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.005)
    raise RuntimeError(f"not ready after {limit} s")


def start(home, limit=400):
    """Seconds until a server is ready, and its peak memory."""
    began = time.perf_counter()
    with serving(home, home.parent / "server.log") as (address, server):
        until_ready(address, server, limit)
        return time.perf_counter() - began, peak(server.pid)


def peak(pid):
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1e3
    return float("nan")


def restart(given):
    events = int(given.restart_size * 1e9 / LINE)
    home = log(events, 200)
    own = home / ".runtape"
    shutil.rmtree(own, ignore_errors=True)
    first, _ = start(home)
    with_snapshot, without, replays = [], [], []
    for repeat in range(given.repeats):
        print(f"  {repeat + 1}/{given.repeats}", file=sys.stderr, flush=True)
        with_snapshot.append(start(home))
        replays.append(replayed(home).wall)
        if repeat == 0:
            for snapshot in (own / "snapshots").iterdir():
                shutil.rmtree(snapshot) if snapshot.is_dir() else snapshot.unlink()
            without.append(start(home))
    shutil.rmtree(own)
    quick = median([seconds for seconds, _ in with_snapshot])
    rows = [
        ["first start: everything is sealed and folded", f"{first:.2f}", ratio(first, quick)],
        ["start without snapshots: the tape is folded", f"{without[0][0]:.2f}", ratio(without[0][0], quick)],
        ["`runtape replay`", spread(replays), ratio(median(replays), quick)],
        ["start with snapshots at the end", spread([seconds for seconds, _ in with_snapshot], 3), ""],
    ]
    size = (home / "events.jsonl").stat().st_size / 1e9
    print(f"{events:,} events, {size:.1f} GB, 200 agents; until `/readyz` answers 200, from the start of the process.\n")
    print(measure.table(["", "s", "of a start with snapshots"], rows))


def idle_files(given):
    client = measure.crate("live")
    line = '{"kind":"run","agent":"probe","latency_ms":12.5,"reward":0.25}'
    results, memory = {}, {}
    for repeat in range(given.repeats):
        for files in (1, 100, 1000, 10_000):
            print(f"  {repeat + 1}/{given.repeats} {files} files", file=sys.stderr, flush=True)
            home = measure.work("scale-idle") / str(files)
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            for nth in range(1, files):
                (home / f"s{nth:05}.jsonl").write_text(json.dumps({"agent": f"a{nth % 100}", "reward": 0.1}) + "\n")
            with serving(home, home.parent / "server.log") as (address, server):
                until_ready(address, server, 120)
                series = 'agent_runs_total{agent="probe"}'
                # The recorder's own part of the page has a few lines of each stream.
                page = "/metrics?collect[]=runs"
                printed = measure.run([client, "idle", address, page, home / "probe.jsonl", line, series, 100]).printed
                results.setdefault(files, []).extend(float(text) for text in printed.split())
                memory.setdefault(files, []).append((peak(server.pid), busy(server.pid)))
    rows = []
    for files, values in results.items():
        values.sort()
        cells = [f"{values[int(len(values) * share)] / 1e3:.3f}" for share in (0.5, 0.9, 0.99)]
        rows.append([f"{files:,}", *cells, f"{median([m for m, _ in memory[files]]):,.0f}", f"{median([b for _, b in memory[files]]):.1f}"])
    print(f"One stream is appended to, the others have one line each; {given.repeats} x 100 appends.\n")
    print(measure.table(["streams", "append to visible, ms: p50", "p90", "p99", "peak MB", "% of a processor when nothing happens"], rows))


def busy(pid, seconds=3.0):
    """Share of a processor that a process takes while nothing is asked of it, in percent."""

    def ticks():
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    before = ticks()
    time.sleep(seconds)
    return (ticks() - before) / seconds * 100


PARTS = {"agents": by_agents, "windows": by_window, "size": by_size, "restart": restart, "files": idle_files}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}; all without one")
    parser.add_argument("--events", type=int, default=1_000_000, help="of the logs with different agents and windows")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", type=float, nargs="+", default=[0.1, 1.0, 10.0], metavar="GB")
    parser.add_argument("--restart-size", type=float, default=2.0, metavar="GB")
    given = parser.parse_args()
    unknown = [part for part in given.part if part not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]}; there are {', '.join(PARTS)}")
    for part in given.part or PARTS:
        print(f"  {part}", file=sys.stderr, flush=True)
        PARTS[part](given)
        print()


measure.main(main)
