"""Follows a growing log by `runtape serve` and by mtail, and prints how long a line takes to be seen and how many lines a second either keeps up with. See README.md."""

import argparse
import contextlib
import pathlib
import socket
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent / "replay")]

import generate  # noqa: E402
import measure  # noqa: E402
from measure import median, ratio, spread  # noqa: E402

FLEET = 200
# What mtail's program keeps of runs, by the names they have here; beside it all that the consumer `runs` has, and the whole page.
KEPT = ["runs_total", "errors_total", "tokens_total", "cost_usd_total", "last_latency_ms", "last_reward", "last_event_timestamp_seconds"]
PAGES = {
    "runtape": "/metrics?" + "&".join(f"name[]=agent_{name}" for name in KEPT),
    "runtape, all of `runs`": "/metrics?collect[]=runs",
    "runtape, the whole page": "/metrics",
}
PROBE = (
    '{"kind":"run","run_id":"probe","agent":"probe","ts":"2026-01-02T00:00:00.000001+00:00","latency_ms":12.5,"tokens_in":10,"tokens_out":2,'
    '"cost_usd":0.001,"errors":0,"reward":0.25}'
)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--appends", type=int, default=300, help="per server and repeat, while nothing else is appended")
    parser.add_argument("--lines", type=int, default=200_000, help="appended at once, per server and repeat; runtape gets five times as many")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % listener.getsockname()[1]


class Server:
    """How to start one, and what to look for on its page."""

    def __init__(self, name, command, probe, lines, factor=1, pages=None):
        self.name, self.command, self.probe, self.lines, self.factor = name, command, probe, lines, factor
        self.pages = pages or {name: "/metrics"}

    @contextlib.contextmanager
    def started(self, home):
        """The address of a server that follows `events.jsonl` in an empty directory."""
        for path in sorted(home.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (home / "events.jsonl").touch()
        address = free_address()
        command = [str(part) for part in self.command(home, address)]
        with open(home.parent / "server.log", "ab") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_for(address, server)
            yield address
        finally:
            server.terminate()
            server.wait()


def wait_for(address, server):
    host, port = address.split(":")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            time.sleep(0.5)
            return
        time.sleep(0.05)
    raise RuntimeError(f"{server.args[0]} does not listen on {address}")


def servers():
    runtape, mtail = measure.runtape(), measure.tool("mtail", "mtail")

    def ours(home, address):
        return [runtape, "serve", "--events", home, "--listen", address]

    def theirs(*more):
        def command(home, address):
            host, port = address.split(":")
            where = ["--progs", HERE / "fleet.mtail", "--logs", home / "events.jsonl", "--address", host, "--port", port]
            return [mtail, *where, "--emit_prog_label=false", "--logtostderr", "--stale_log_gc_interval=0", *more]

        return command

    every = 'runtape_consumer_position{consumer="'
    fastest = ["--poll_interval=1ms", "--poll_log_interval=1ms"]
    return [
        Server("runtape", ours, 'agent_runs_total{agent="probe"}', every, 5, PAGES),
        Server("mtail, as it comes", theirs(), 'runs_total{agent="probe"}', "lines_total"),
        Server("mtail, polls of 1 ms", theirs(*fastest), 'runs_total{agent="probe"}', "lines_total"),
    ]


def numbers(text):
    return [float(line) for line in text.split()]


def one_shot(source):
    """mtail over a file that is there already, which is its fastest."""
    mtail = measure.tool("mtail", "mtail")
    command = [mtail, "--progs", HERE / "fleet.mtail", "--logs", source, "--one_shot", "--one_shot_format", "json"]
    return measure.run(command).wall


def percentile(values, share):
    return statistics.quantiles(values, n=100)[share - 1]


def main():
    given = arguments()
    client = measure.crate("live")
    home = measure.work("live/events")
    sources = {factor: home.parent / f"lines-{given.lines * factor}.jsonl" for factor in (1, 5)}
    for factor, source in sources.items():
        if not source.exists():
            generate.write(source, given.lines * factor, FLEET)
    warm = home.parent / "warm.jsonl"
    generate.write(warm, 20_000, FLEET, seed=2)
    seen, rounds, rates = {}, {}, {}
    for repeat in range(given.repeats):
        for server in servers():
            print(f"  {repeat + 1}/{given.repeats} {server.name}", file=sys.stderr, flush=True)
            with server.started(home) as address:
                where = [client, "load", address, "/metrics", home / "events.jsonl"]
                measure.run([*where, warm, server.lines, 20_000])
                for name, page in server.pages.items():
                    idle = [client, "idle", address, page, home / "events.jsonl", PROBE, server.probe, given.appends]
                    seen.setdefault(name, []).extend(numbers(measure.run(idle).printed))
                    asked = numbers(measure.run([client, "round", address, page, 200]).printed)
                    rounds.setdefault(name, []).extend(asked)
                lines = given.lines * server.factor
                took = numbers(measure.run([*where, sources[server.factor], server.lines, lines]).printed)
                rates.setdefault(server.name, []).append(lines / took[0])
        rates.setdefault("mtail, one_shot", []).append(given.lines / one_shot(sources[1]))
    report(given, seen, rounds, rates)


def report(given, seen, rounds, rates):
    ours = "runtape"
    print(f"{FLEET} agents, {given.repeats} repeats in turns, {given.appends} appends each, loopback; {measure.machine()}.\n")
    rows = []
    for name, values in seen.items():
        cells = [name] + [f"{percentile(values, share) / 1e3:.3f}" for share in (50, 90, 99)]
        against = [ratio(percentile(values, share), percentile(seen[ours], share)) for share in (50, 99)]
        rows.append(cells + [f"{median(rounds[name]) / 1e3:.3f}"] + (["", ""] if name == ours else against))
    print(measure.table(["append to visible, ms", "p50", "p90", "p99", "answer p50", "p50 of runtape's", "p99 of runtape's"], rows))
    rows = []
    for name, values in rates.items():
        against = "" if name == ours else ratio(median(rates[ours]), median(values))
        rows.append([name, spread([value / 1e3 for value in values], 0), against])
    print("\n" + measure.table(["kept up with, thousand lines/s", "[min-max]", "runtape against it"], rows))


measure.main(main)
