"""Replays one log by runtape and by programs one would take otherwise, checks that all say the same, and prints what each took. See README.md."""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

import answer  # noqa: E402
import generate  # noqa: E402
import measure  # noqa: E402
from measure import median, ratio, spread  # noqa: E402

OURS = "runtape"
PEERS = {"duckdb": "DuckDB", "chdb": "chDB", "polars": "Polars", "orjson": "Python with orjson"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", default=",".join(PEERS), help=f"some of {','.join(PEERS)}")
    parser.add_argument("--check", action="store_true", help="a small log, once: only whether the answers agree")
    given = parser.parse_args()
    if given.check:
        given.events, given.repeats = min(given.events, 200_000), 1
    return given


def log(given):
    """The directory with the log, made once."""
    home = measure.work(f"replay-{given.events}-{given.agents}-{given.seed}")
    path = home / "events.jsonl"
    if not path.exists():
        print(f"writing {given.events:,} events to {path}", file=sys.stderr, flush=True)
        part = home / "events.part"
        generate.write(part, given.events, given.agents, given.seed)
        part.rename(path)
    return path


class Measured:
    def __init__(self, run, seconds, answer=None):
        self.wall, self.cpu, self.rss, self.answer = seconds, run.cpu, run.rss, answer


def ours(program, path, threads, consumers=None):
    command = [program, "replay", "--events", path.parent, "-o", "json"]
    command += ["--threads", threads] if threads else []
    command += ["--consumers", consumers] if consumers else []

    def call():
        run = measure.run(command)
        state = json.loads(run.printed)
        return Measured(run, run.wall, None if consumers else answer.of_runtape(state))

    return call


def theirs(python, peer, path, threads):
    def call():
        environment = {"POLARS_MAX_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        run = measure.run([python, HERE / f"with_{peer}.py", path, threads], environment)
        said = json.loads(run.printed)
        return Measured(run, said["seconds"], said)

    return call


def programs(given, path):
    """Every program by what it is called in the table: (name, threads)."""
    runtape = measure.runtape()
    peers = given.peers.split(",")
    if unknown := [peer for peer in peers if peer not in PEERS]:
        raise measure.Missing(f"no peer {unknown[0]}; there are {', '.join(PEERS)}")
    python = measure.python(HERE / "requirements.txt", peers)
    has_threads = b"--threads" in measure.run([runtape, "replay", "--help"]).printed
    listed = {}
    for threads in (2, 1):
        ask = threads if has_threads else None
        if ask is None and threads == 1:
            continue
        listed[OURS, threads] = ours(runtape, path, ask)
        listed[OURS + ", `runs` and `rolling`", threads] = ours(runtape, path, ask, "runs,rolling")
        listed[OURS + ", only reading", threads] = ours(runtape, path, ask, "none")
    for peer in peers:
        for threads in (1,) if peer == "orjson" else (2, 1):
            listed[PEERS[peer], threads] = theirs(python, peer, path, threads)
    return listed


def checked(results):
    """Stops when any answer differs; how many rows were compared."""
    (expected,) = [runs[0].answer for (name, threads), runs in results.items() if (name, threads) == (OURS, 2)]
    for (name, threads), runs in results.items():
        for run in runs:
            if run.answer is None:
                continue
            found = answer.differences(expected, run.answer)
            if found:
                sys.exit(f"{name} ({threads} threads) and runtape differ in {len(found)} places:\n  " + "\n  ".join(found[:20]))
    return len(expected["agents"])


def report(given, path, results, rows):
    size = path.stat().st_size
    walls = {key: median([run.wall for run in runs]) for key, runs in results.items()}
    memory = {key: median([run.rss for run in runs]) for key, runs in results.items()}
    lines = []
    for (name, threads), runs in results.items():
        base = OURS if (OURS, threads) in walls else None
        narrow = OURS + ", `runs` and `rolling`"
        cells = [name, threads, spread([run.wall for run in runs])]
        cells += [f"{median([run.cpu for run in runs]):.2f}", f"{memory[name, threads]:.0f}"]
        if base is None or name.startswith(OURS):
            cells += ["", "", ""]
        else:
            cells += [ratio(walls[name, threads], walls[base, threads]), ratio(walls[name, threads], walls[narrow, threads])]
            cells += [ratio(memory[name, threads], memory[base, threads])]
        lines.append(cells)
    print(f"{given.events:,} events of {rows} agents, {size / 1e6:,.0f} MB; {given.repeats} repeats, interleaved, a fresh process each; {measure.machine()}.")
    print(f"Every column of the answers agrees on all {rows} agents to 1e-9, as do the counts by kind and the profits without a run.\n")
    head = ["program", "threads", "wall s [min-max]", "CPU s", "peak MB", "of runtape's time", "of `runs`, `rolling`", "of its memory"]
    print(measure.table(head, lines))
    shares = []
    for threads in (2, 1):
        if (OURS, threads) in walls:
            share = walls[OURS + ", only reading", threads] / walls[OURS, threads]
            shares.append(f"with {threads} threads all consumers reach {share:.0%} of the speed of reading alone")
    if (OURS, 1) in walls:
        shares.append(f"two threads are {ratio(walls[OURS, 1], walls[OURS, 2])} as fast as one")
    print("\n" + "; ".join(shares) + ".")


def main():
    given = arguments()
    path = log(given)
    results = measure.interleaved(programs(given, path), given.repeats)
    rows = checked(results)
    if given.check:
        print(f"{len(results)} programs agree on {rows} agents")
    else:
        report(given, path, results, rows)


measure.main(main)
