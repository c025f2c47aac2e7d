"""aggregates.py READER DIR: what a reader of Parquet sums up of a table of runs, agent by agent, as JSON."""
import json
import sys

reader, where = sys.argv[1], sys.argv[2] + "/runs/*/*.parquet"
SUMS = ["runs", "failures", "tokens_in", "tokens_out", "cost_usd"]
NAMES = ["runs", "errors", "tokens_in", "tokens_out", "cost_usd"]
WINDOW = 500

if reader == "duckdb":
    import duckdb

    sums = ", ".join(f"coalesce(sum({c}), 0)::double" for c in SUMS)
    rows = duckdb.sql(f"""
        with recent as (select agent, pnl_bps from read_parquet('{where}', hive_partitioning = true) where pnl_number is not null
                        qualify row_number() over (partition by agent order by pnl_number desc) <= {WINDOW}),
             pnl as (select agent, count(*) n, sum(pnl_bps) s, avg(pnl_bps) m from recent group by agent)
        select t.agent, {sums}, coalesce(any_value(n), 0), coalesce(any_value(s), 0), any_value(m)
        from read_parquet('{where}', hive_partitioning = true) t left join pnl using (agent) group by t.agent""").fetchall()
elif reader == "pandas":
    import pandas

    table = pandas.read_parquet(sys.argv[2] + "/runs")
    assert str(table["day"].iloc[0]).startswith("20"), "the day is a column"
    pnl = table.dropna(subset=["pnl_number"]).sort_values("pnl_number").groupby("agent").tail(WINDOW).groupby("agent")["pnl_bps"]
    pnl = pnl.agg(["count", "sum", "mean"])
    rows = []
    for agent, group in table.groupby("agent"):
        p = pnl.loc[agent] if agent in pnl.index else {"count": 0, "sum": 0, "mean": None}
        rows.append([agent, *(float(group[c].sum()) for c in SUMS), int(p["count"]), float(p["sum"]), p["mean"] if p["mean"] is None else float(p["mean"])])
else:
    import polars

    table = polars.read_parquet(where, hive_partitioning=True)
    recent = table.drop_nulls("pnl_number").sort("pnl_number").group_by("agent").tail(WINDOW)
    pnl = recent.group_by("agent").agg(polars.len().alias("n"), polars.col("pnl_bps").sum().alias("s"), polars.col("pnl_bps").mean().alias("m"))
    both = table.group_by("agent").agg(*(polars.col(c).sum() for c in SUMS)).join(pnl, on="agent", how="left")
    rows = [[r[0], *r[1:6], r[6] or 0, r[7] or 0, r[8]] for r in both.select("agent", *SUMS, "n", "s", "m").rows()]

print(json.dumps({r[0]: dict(zip(NAMES + ["pnl_count", "pnl_sum", "pnl_mean"], r[1:])) for r in rows}))
