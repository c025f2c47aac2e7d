"""What every program is asked for, and whether they said the same.

Of each agent, over the whole log: `runs`, `errors`, `cost`. Over its last 500 rewards: `n`, `mean`, `std` (of a sample), `drawdown` (of the sum of the
rewards, from zero: never above it). Over its last 500 latencies: `latency` (the median). Over its last 100 runs: `error_rate`. Over the profits of its last
500 runs that have one, joined by `run_id`: `pnl_n`, `pnl_sum`; and `last_5`, the sum of the newest five, null below five. Of the log: `counts` by kind,
and `waiting`, profits without a run.
"""

import json
import math
import sys

COLUMNS = (
    "agent", "runs", "errors", "cost", "n", "mean", "std", "drawdown", "latency", "error_rate", "pnl_n", "pnl_sum", "last_5",
)


def give(rows, counts, waiting, seconds):
    """Prints an answer: rows in the order of COLUMNS; seconds without the imports."""
    agents = {row[0]: dict(zip(COLUMNS[1:], row[1:])) for row in rows}
    json.dump({"agents": agents, "counts": dict(sorted(counts)), "waiting": waiting, "seconds": seconds}, sys.stdout)


def of_runtape(state):
    """The same answer out of `runtape replay -o json`."""
    agents = {}
    for name, row in state["agents"].items():
        reward, pnl = row["reward"], row["pnl_bps"]
        agents[name] = {
            "runs": row["runs"],
            "errors": row["errors"],
            "cost": row["cost_usd"],
            "n": reward["count"],
            "mean": reward["mean"],
            "std": reward["std"],
            "drawdown": reward["drawdown"],
            "latency": row["latency_ms"]["median"],
            "error_rate": row.get("error_rate"),
            "pnl_n": pnl["count"],
            "pnl_sum": pnl["sum"],
            "last_5": pnl["last_5"],
        }
    counts = {kind: state["lines"][kind] for kind in sorted(("run", "alpha", "pnl")) if kind in state["lines"]}
    return {"agents": agents, "counts": counts, "waiting": state["waiting"]}


def same(one, other):
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)


def differences(expected, answer):
    """Where an answer differs, as text."""
    found = []
    for name in sorted(expected["agents"].keys() | answer["agents"].keys()):
        ours, theirs = expected["agents"].get(name), answer["agents"].get(name)
        if ours is None or theirs is None:
            found.append(f"{name}: only one of them knows it")
            continue
        for column in COLUMNS[1:]:
            if not same(ours[column], theirs[column]):
                found.append(f"{name}.{column}: {ours[column]} and {theirs[column]}")
    for what in ("counts", "waiting"):
        if expected[what] != answer[what]:
            found.append(f"{what}: {expected[what]} and {answer[what]}")
    return found
