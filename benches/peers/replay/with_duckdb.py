"""DuckDB: the columns that are needed read into a table of memory, then window functions."""

import sys
import time

import duckdb

import answer

LOG = """
create temp table log as select * from read_json(?, format = 'newline_delimited', columns = {
  kind: 'VARCHAR', run_id: 'VARCHAR', agent: 'VARCHAR', ts: 'TIMESTAMP', latency_ms: 'DOUBLE', cost_usd: 'DOUBLE', errors: 'BIGINT',
  reward: 'DOUBLE', realized_pnl_bps: 'DOUBLE'})
"""

ROWS = """
with run as (select *, row_number() over (partition by agent order by ts desc) nth from log where kind = 'run'),
equity as (
  select agent, reward, latency_ms, sum(reward) over (partition by agent order by nth desc rows unbounded preceding) equity, nth
  from run where nth <= 500),
peak as (select *, greatest(0, max(equity) over (partition by agent order by nth desc rows unbounded preceding)) peak from equity),
rolling as (
  select agent, count(*) n, avg(reward) mean, coalesce(stddev_samp(reward), 0) std, least(0, min(equity - peak)) drawdown,
    median(latency_ms) latency
  from peak group by agent),
total as (
  select agent, count(*) runs, count(*) filter (errors > 0) errors, sum(cost_usd) cost,
    count(*) filter (errors > 0 and nth <= 100) / least(count(*), 100) error_rate
  from run group by agent),
joined as (
  select run.agent, pnl.realized_pnl_bps bps, row_number() over (partition by run.agent order by pnl.ts desc) nth
  from log pnl join run on run.run_id = pnl.run_id where pnl.kind = 'pnl'),
profit as (
  select agent, count(*) filter (nth <= 500) pnl_n, coalesce(sum(bps) filter (nth <= 500), 0) pnl_sum,
    case when count(*) >= 5 then sum(bps) filter (nth <= 5) end last_5
  from joined group by agent)
select agent, runs, errors, cost, n, mean, std, drawdown, latency, error_rate, coalesce(pnl_n, 0), coalesce(pnl_sum, 0), last_5
from total join rolling using (agent) left join profit using (agent)
"""

WAITING = """
select count(*) from log pnl anti join (select run_id from log where kind = 'run') run on run.run_id = pnl.run_id where pnl.kind = 'pnl'
"""


def main():
    start = time.perf_counter()
    database = duckdb.connect(config={"threads": int(sys.argv[2]), "preserve_insertion_order": "false"})
    database.execute(LOG, [sys.argv[1]])
    rows = database.execute(ROWS).fetchall()
    counts = database.execute("select kind, count(*) from log group by kind").fetchall()
    (waiting,) = database.execute(WAITING).fetchone()
    answer.give(rows, counts, waiting, time.perf_counter() - start)


main()
