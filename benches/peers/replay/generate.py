"""A seeded log of a fleet, as JSON lines: the same arguments give the same bytes.

Runs, signals and profits of agents drawn by Zipf's law; a profit follows its run after about 2,000 events and names no agent, so it must be joined by
`run_id`. Times rise strictly; rewards have all their digits, the other numbers 3 to 6 decimals.
"""

import bisect
import functools
import heapq
import itertools
import multiprocessing
import os
import random
import shutil
import sys

FAMILIES = ("momentum", "meanrev", "breakout", "carry", "arb")
SYMBOLS = ("BTC", "ETH", "SOL", "XRP", "ADA", "LINK", "AVAX", "DOGE")
REGIMES = ("trend", "range", "volatile")
DIRECTIONS = ("LONG", "SHORT", "FLAT")
HOLD_EVENTS = 2000
# Of the runs; the rest have none.
WITH_SIGNAL = WITH_PROFIT = 0.75
# Of the profits: their run is nowhere in the log.
LOST = 0.0013


def agents(count):
    return [f"{FAMILIES[n % len(FAMILIES)]}-{n:03}" for n in range(count)]


def chosen(weights, draw):
    return bisect.bisect_left(weights, draw * weights[-1])


@functools.lru_cache(maxsize=1)
def minute(minutes):
    """The time up to its seconds. Days are counted by hand: a library call for each line would take most of the time."""
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    month = 1
    for length in itertools.cycle((31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)):
        if day < length:
            break
        day, month = day - length, month + 1
    year = 2026 + (month - 1) // 12
    return f"{year}-{(month - 1) % 12 + 1:02}-{day + 1:02}T{hour:02}:{minute:02}:"


def spelled(microseconds):
    seconds, fraction = divmod(microseconds, 1_000_000)
    minutes, second = divmod(seconds, 60)
    return f"{minute(minutes)}{second:02}.{fraction:06}+00:00"


def lines(events, fleet, seed, clock=0):
    draw = random.Random(seed)
    names = agents(fleet)
    weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(fleet)))
    uniform, normal, exponential, bits = draw.random, draw.gauss, draw.expovariate, draw.getrandbits
    due = []
    for n in range(events):
        clock += 1 + int(uniform() * 40_000)
        ts = spelled(clock)
        if due and due[0][0] <= n:
            _, run, name = heapq.heappop(due)
            symbol = SYMBOLS[int(uniform() * len(SYMBOLS))]
            if name is None:
                entry, pnl = 10 + 1000 * uniform(), normal(1.5, 40)
                if uniform() < LOST:
                    run = identity(bits(128))
                yield (
                    f'{{"kind":"pnl","run_id":"{run}","ts":"{ts}","symbol":"{symbol}","entry_price":{entry:.4f},'
                    f'"exit_price":{entry * (1 + pnl / 1e4):.4f},"realized_pnl_bps":{pnl:.4f}}}\n'
                )
            else:
                yield (
                    f'{{"kind":"alpha","run_id":"{run}","agent":"{name}","ts":"{ts}","symbol":"{symbol}",'
                    f'"direction":"{DIRECTIONS[int(uniform() * 3)]}","score_final":{normal(0, 1):.6f},'
                    f'"regime":"{REGIMES[int(uniform() * 3)]}"}}\n'
                )
            continue
        name, run = names[chosen(weights, uniform())], identity(bits(128))
        # What is due at a moment that is taken waits for the next one.
        if uniform() < WITH_SIGNAL:
            heapq.heappush(due, (n + 1 + int(uniform() * 8), run, name))
        if uniform() < WITH_PROFIT:
            heapq.heappush(due, (n + 10 + int(exponential(1 / HOLD_EVENTS)), run, None))
        tokens = 500 + int(uniform() * 8000)
        yield (
            f'{{"kind":"run","run_id":"{run}","agent":"{name}","ts":"{ts}","latency_ms":{80 + exponential(1 / 300):.3f},'
            f'"tokens_in":{tokens},"tokens_out":{tokens // 5},"cost_usd":{tokens * 6.3e-6:.6f},'
            f'"errors":{int(uniform() < 0.02)},"reward":{normal(0.02, 1)!r}}}\n'
        )


def identity(number):
    """A UUID of version 4 of 128 random bits."""
    number = number & ~(0xF << 76) & ~(3 << 62) | 4 << 76 | 2 << 62
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def write(path, events, fleet=200, seed=1, clock=0):
    """Writes the log, in pieces large enough to make writing cheap. `clock` is when it begins, in microseconds of 2026."""
    with open(path, "w", encoding="ascii", buffering=1 << 20) as out:
        every = lines(events, fleet, seed, clock)
        while piece := list(itertools.islice(every, 10_000)):
            out.writelines(piece)


def write_large(path, events, fleet=200, seed=1, part=1_000_000):
    """The same in parts of other seeds, one after the other in time, made by all processors."""
    parts = [(f"{path}.{nth}", min(part, events - nth * part), fleet, seed + nth, nth * part * 40_000) for nth in range(-(-events // part))]
    with multiprocessing.Pool() as pool, open(path, "wb") as out:
        for (name, *_), _ in zip(parts, pool.imap(write_part, parts)):
            with open(name, "rb") as made:
                shutil.copyfileobj(made, out, 1 << 20)
            os.unlink(name)


def write_part(arguments):
    write(*arguments)


if __name__ == "__main__":
    write(sys.argv[1], int(sys.argv[2]), *(int(argument) for argument in sys.argv[3:]))
