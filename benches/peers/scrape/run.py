"""Encodes a page of 10,000 agents with 30 series each by runtape and by the crates `prometheus` and `prometheus-client`. See README.md."""

import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

import measure  # noqa: E402
from measure import median, ratio, spread  # noqa: E402

OURS = "runtape"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    printed = measure.run([measure.crate("scrape"), given.agents, given.repeats]).printed.decode()
    encoded, updated = {}, {}
    for line in printed.splitlines():
        name, every, milliseconds, setting = line.split()
        encoded.setdefault((name, int(every)), []).append(float(milliseconds))
        updated.setdefault((name, int(every)), []).append(float(setting))
    rows = []
    for name in dict.fromkeys(name for name, _ in encoded):
        cells = [name]
        for every in (1, 100):
            cells += [spread(encoded[name, every]), f"{median(updated[name, every]):.2f}"]
            against = ratio(median(encoded[name, every]), median(encoded[OURS, every]))
            cells.append("" if name == OURS else against)
        rows.append(cells)
    print(f"{given.agents:,} agents, 30 series each; {given.repeats} repeats in turns, each of one scrape after all and ten after 1 % changed; all values checked to be the same; {measure.machine()}.\n")
    head = ["encoder", "all changed: encode ms [min-max]", "set ms", "of runtape's", "1 % changed: encode ms [min-max]", "set ms", "of runtape's"]
    print(measure.table(head, rows))
    share = ratio(median(encoded[OURS, 1]), median(encoded[OURS, 100]))
    print(f"\nWith 1 % changed runtape encodes {share} faster than with all.")


measure.main(main)
