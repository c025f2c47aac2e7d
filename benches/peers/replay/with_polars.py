"""Polars: the columns that are needed collected by the streaming engine, then expressions over groups."""

import sys
import time

import polars as pl

import answer

SCHEMA = {
    "kind": pl.String, "run_id": pl.String, "agent": pl.String, "ts": pl.String, "latency_ms": pl.Float64, "cost_usd": pl.Float64,
    "errors": pl.Int64, "reward": pl.Float64, "realized_pnl_bps": pl.Float64,
}  # fmt: skip


def newest(count):
    return pl.int_range(pl.len(), 0, -1).over("agent") <= count


def rolling(run):
    tail = run.filter(newest(500)).with_columns(equity=pl.col("reward").cum_sum().over("agent"))
    tail = tail.with_columns(peak=pl.max_horizontal(pl.lit(0.0), pl.col("equity").cum_max().over("agent")))
    return tail.group_by("agent").agg(
        n=pl.len(),
        mean=pl.col("reward").mean(),
        std=pl.col("reward").std().fill_null(0.0),
        drawdown=(pl.col("equity") - pl.col("peak")).min(),
        latency=pl.col("latency_ms").median(),
    )


def profit(run, pnl):
    joined = pnl.join(run.select("run_id", "agent"), on="run_id", how="inner", maintain_order="left")
    bps = pl.col("realized_pnl_bps")
    return joined.group_by("agent", maintain_order=True).agg(
        pnl_n=bps.tail(500).len(),
        pnl_sum=bps.tail(500).sum(),
        last_5=pl.when(pl.len() >= 5).then(bps.tail(5).sum()),
    )


def main():
    start = time.perf_counter()
    log = pl.scan_ndjson(sys.argv[1], schema=SCHEMA).collect(engine="streaming")
    run = log.filter(pl.col("kind") == "run").drop("realized_pnl_bps")
    pnl = log.filter(pl.col("kind") == "pnl").select("run_id", "realized_pnl_bps")
    failed = pl.col("errors") > 0
    total = run.group_by("agent", maintain_order=True).agg(
        runs=pl.len(), errors=failed.sum(), cost=pl.col("cost_usd").sum(), error_rate=failed.tail(100).mean()
    )
    rows = total.join(rolling(run), on="agent").join(profit(run, pnl), on="agent", how="left")
    rows = rows.with_columns(pl.col("pnl_n", "pnl_sum").fill_null(0)).select(answer.COLUMNS).rows()
    counts = log.group_by("kind").len().rows()
    waiting = pnl.join(run, on="run_id", how="anti").height
    answer.give(rows, counts, waiting, time.perf_counter() - start)


main()
