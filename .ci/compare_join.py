#!/usr/bin/env python3
"""compare_join.py RUNTAPE ORACLE_DIR DATA_DIR: joins run, alpha and PnL of both real logs by plain rules over what the independent fold reads of them, with
what held at the first line of each row, and compares every field with the table that `runtape backfill` writes. Needs duckdb."""
import math, subprocess, sys, tempfile
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import duckdb

binary, oracle, data = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
sys.path.insert(0, str(oracle))
import fold as oracle_fold

FIELDS = ["position", "ts", "run_id", "agent", "runs", "failures", "signals", "records", "latency_ms", "tokens_in", "tokens_out", "cost_usd", "reward", "symbol",
          "regime", "pnl_bps", "entry_price", "exit_price", "confidence", "drawdown", "quarantined", "gate"]


def last(row, field, value):
    if value is not None:
        row[field] = value


def joined(paths):
    """The rows by (agent, run_id), in the order of their first lines."""
    decided = oracle_fold.fold(paths)["decisions"]
    held = {name: defaultdict(list) for name in ("quarantine", "gates")}
    for d in decided:
        held[d["consumer"]][d["subject"]].append((d["cause"], d["verdict"]))
    agents, rows, order, owner, waiting, seen, now = defaultdict(oracle_fold.Agent), {}, [], {}, defaultdict(list), set(), None

    def before(consumer, name, position, default):
        return next((verdict for cause, verdict in reversed(held[consumer][name]) if cause < position), default)

    def row_of(name, run, position, t):
        key = (name, run) if run is not None else (name, object())
        if key not in rows:
            a = agents[name]
            large, small = a.losses()
            rows[key] = dict.fromkeys(FIELDS) | dict(
                position=position, ts=t if t is None else t // 1000, run_id=run, agent=name, runs=0, failures=0, signals=0, records=0, tokens_in=0, tokens_out=0,
                confidence=0.85 ** large * 0.95 ** small, drawdown=oracle_fold.stats(a.reward)["drawdown"] or 0.0,
                quarantined=before("quarantine", name, position, "cleared") == "quarantined", gate=before("gates", name, position, "candidate"))
            order.append(rows[key])
        return rows[key]

    def settle(name, e, position, t):
        row = row_of(name, e.get("run_id"), position, t)
        row["records"] += 1
        row["pnl_bps"] = (row["pnl_bps"] or 0) + Fraction(e["realized_pnl_bps"])
        row["symbol"] = row["symbol"] or e.get("symbol")
        for field in ("entry_price", "exit_price"):
            last(row, field, e.get(field))
        agents[name].settle(e.get("run_id", object()), e["realized_pnl_bps"])

    for position, (_, _, _, e, t) in enumerate(oracle_fold.ordered(paths)):
        if e is None:
            continue
        kind = oracle_fold.kind_of(e)
        if kind in oracle_fold.CONTROL or kind == "unknown":
            continue
        if "event_id" in e:
            if (kind, e["event_id"]) in seen:
                continue
            seen.add((kind, e["event_id"]))
        if t is not None:
            now = t if now is None else max(now, t)
        t, name, run = t if t is not None else now, e.get("agent"), e.get("run_id")
        if kind == "pnl":
            name = name or owner.get(run)
            waiting[run].append((e, t)) if name is None else settle(name, e, position, t)
        elif kind in ("run", "alpha") and name is not None:
            row = row_of(name, run, position, t)
            if kind == "run":
                row["runs"] += 1
                row["failures"] += bool(e.get("errors"))
                for field in ("tokens_in", "tokens_out"):
                    row[field] += e.get(field, 0)
                tokens = e.get("tokens_in", 0) * 5 + e.get("tokens_out", 0) * 25
                if "cost_usd" in e or "tokens_in" in e or "tokens_out" in e:
                    row["cost_usd"] = (row["cost_usd"] or 0) + e.get("cost_usd", tokens / 1e6)
                for field in ("latency_ms", "reward"):
                    last(row, field, e.get(field))
                if "reward" in e:
                    agents[name].reward.append(e["reward"])
            else:
                row["signals"] += 1
                for field in ("symbol", "regime"):
                    last(row, field, e.get(field))
            if run is not None and run not in owner:
                owner[run] = name
                for late, at in waiting.pop(run, []):
                    settle(name, late, position, at)
    return order


def same(a, b):
    if isinstance(a, (int, float, Fraction)) and isinstance(b, (int, float)) and not isinstance(a, bool):
        return math.isclose(float(a), b, rel_tol=1e-9, abs_tol=1e-9)
    return a == b


compared, wrong = 0, []
for log in ("one", "three"):
    with tempfile.TemporaryDirectory() as out:
        events = data / "real-agents" / log
        subprocess.run([binary, "backfill", str(events), "--out", out], check=True, capture_output=True)
        columns = ", ".join("epoch_us(ts)" if f == "ts" else f for f in FIELDS)
        got = duckdb.sql(f"select {columns} from read_parquet('{out}/runs/*/*.parquet') order by position").fetchall()
        want = joined(sorted(str(p) for p in events.glob("*.jsonl")))
        if len(want) != len(got):
            wrong.append(f"{log}: {len(want)} rows, the table has {len(got)}")
        for a, b in zip(want, got):
            for field, value in zip(FIELDS, b):
                compared += 1
                if not same(a[field], value):
                    wrong.append(f"{log}, position {a['position']}, {field}: want {a[field]}, got {value}")
print(f"compared {compared} values of the joined tables of 2 logs: {len(wrong)} differ")
for line in wrong[:40]:
    print(" ", line)
sys.exit(1 if wrong or compared < 1000 else 0)
