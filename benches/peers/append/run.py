"""Appends durably by `runtape append` and over runtape's HTTP, and publishes to NATS JetStream with acknowledgements. See README.md."""

import argparse
import contextlib
import http.client
import json
import pathlib
import queue
import shutil
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent / "replay"), str(HERE.parent / "live")]

import generate  # noqa: E402
import measure  # noqa: E402
from measure import median, ratio, spread  # noqa: E402

BATCH = 1000


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--messages", type=int, default=200_000, help="for JetStream, and for runtape over HTTP")
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args()


def emptied(home):
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    return home


def by_command(runtape, home, source, events):
    """Lines on standard input; one sync for each thousand, and the next thousand only then."""
    directory = emptied(home / "events")
    with open(source, "rb") as lines:
        start = time.perf_counter()
        subprocess.run([runtape, "append", "--events", directory, "runs"], stdin=lines, stderr=subprocess.DEVNULL, check=True)
        return events / (time.perf_counter() - start)


@contextlib.contextmanager
def serving(command, address, log):
    host, port = address.split(":")
    with open(log, "ab") as out:
        server = subprocess.Popen([str(part) for part in command], stdout=out, stderr=out)
    try:
        wait_for(host, int(port), server)
        yield host, int(port)
    finally:
        server.terminate()
        server.wait()


def wait_for(host, port, server):
    import socket

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{server.args[0]} does not listen on {host}:{port}")


def free_address():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % listener.getsockname()[1]


def by_http(runtape, home, batches):
    """Batches from four connections; each is answered once it is durable."""
    directory, address = emptied(home / "events"), free_address()
    with serving([runtape, "serve", "--events", directory, "--listen", address], address, home / "server.log") as (host, port):
        left = queue.SimpleQueue()
        for batch in batches:
            left.put(batch)
        failures = []

        def work():
            connection = http.client.HTTPConnection(host, port)
            with contextlib.suppress(queue.Empty):
                while True:
                    body = left.get_nowait()
                    connection.request("POST", "/api/v1/events", body, {"Content-Type": "application/x-ndjson"})
                    answer = connection.getresponse()
                    said = answer.read()
                    if answer.status != 200 or not json.loads(said).get("durable", True):
                        failures.append((answer.status, said[:200]))

        time.sleep(0.5)
        threads = [threading.Thread(target=work) for _ in range(4)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - start
        if failures:
            raise RuntimeError(f"not appended: {failures[0]}")
    return len(batches) * BATCH / took


def by_jetstream(client, nats, home, messages, flight):
    directory, address = emptied(home / "jetstream"), free_address()
    host, port = address.split(":")
    command = [nats, "--jetstream", "--store_dir", directory, "--addr", host, "--port", port]
    with serving(command, address, home / "server.log"):
        return float(measure.run([client, f"nats://{address}", messages, flight]).printed)


def main():
    given = arguments()
    runtape, nats, client = measure.runtape(), measure.tool("nats-server", "nats-server"), measure.crate("jetstream")
    home = measure.work("append")
    source = home / f"lines-{given.events}.jsonl"
    if not source.exists():
        generate.write(source, given.events)
    with open(source, "rb") as file:
        lines = [file.readline() for _ in range(given.messages)]
    batches = [b"".join(lines[at : at + BATCH]) for at in range(0, len(lines), BATCH)]
    programs = {
        "`runtape append`, a sync for each thousand": lambda: by_command(runtape, home, source, given.events),
        "runtape over HTTP, thousands from 4 connections": lambda: by_http(runtape, home, batches),
        "JetStream, acknowledged, 256 in flight": lambda: by_jetstream(client, nats, home, given.messages, 256),
        "JetStream, each acknowledged before the next": lambda: by_jetstream(client, nats, home, given.messages // 20, 1),
    }
    results = measure.interleaved(programs, given.repeats)
    ours = median(next(iter(results.values())))
    rows = []
    for name, rates in results.items():
        rows.append([name, spread([rate / 1e3 for rate in rates], 0), "" if "runtape" in name else ratio(ours, median(rates))])
    print(f"Lines of about 220 bytes, {given.repeats} repeats in turns; {measure.machine()}.\n")
    print(measure.table(["writer", "thousand events/s [min-max]", "`runtape append` against it"], rows))


measure.main(main)
