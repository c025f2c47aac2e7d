"""chDB, which is ClickHouse in a library: the columns that are needed read into a Memory table, then window functions."""

import json
import sys
import time

from chdb import session

import answer

LOG = """
create table log engine = Memory as select * from file('{path}', 'JSONEachRow',
  'kind LowCardinality(String), run_id String, agent LowCardinality(String), ts String, latency_ms Float64, cost_usd Float64, errors Int64,
   reward Float64, realized_pnl_bps Float64')
"""

# Without `join_use_nulls` an agent without profits has zeros, as is wanted for all but `last_5`.
ROWS = """
with run as (select *, row_number() over (partition by agent order by ts desc) nth from log where kind = 'run'),
equity as (
  select agent, reward, latency_ms, nth,
    sum(reward) over (partition by agent order by nth desc rows between unbounded preceding and current row) equity
  from run where nth <= 500),
peak as (
  select *, greatest(0, max(equity) over (partition by agent order by nth desc rows between unbounded preceding and current row)) peak
  from equity),
rolling as (
  select agent, count() n, avg(reward) mean, if(count() > 1, stddevSamp(reward), 0) std, least(0, min(equity - peak)) drawdown,
    quantileExactInclusive(0.5)(latency_ms) latency
  from peak group by agent),
total as (
  select agent, count() runs, countIf(errors > 0) failed, sum(cost_usd) cost,
    countIf(errors > 0 and nth <= 100) / least(count(), 100) error_rate
  from run group by agent),
joined as (
  select run.agent agent, pnl.realized_pnl_bps bps, row_number() over (partition by run.agent order by pnl.ts desc) nth
  from (select run_id, ts, realized_pnl_bps from log where kind = 'pnl') pnl
  join (select run_id, agent from log where kind = 'run') run on run.run_id = pnl.run_id),
profit as (
  select agent, countIf(nth <= 500) pnl_n, sumIf(bps, nth <= 500) pnl_sum, count() all_n, sumIf(bps, nth <= 5) last_5
  from joined group by agent)
select total.agent, runs, failed, cost, n, mean, std, drawdown, latency, error_rate, pnl_n, pnl_sum, if(all_n >= 5, last_5, null)
from total join rolling on total.agent = rolling.agent left join profit on total.agent = profit.agent
format JSONCompactEachRow settings output_format_json_quote_64bit_integers = 0
"""

COUNTS = "select kind, count() from log group by kind format JSONCompactEachRow settings output_format_json_quote_64bit_integers = 0"

WAITING = """
select count() from log where kind = 'pnl' and run_id not in (select run_id from log where kind = 'run') format TSV
"""


def main():
    start = time.perf_counter()
    database = session.Session()
    database.query(f"set max_threads = {int(sys.argv[2])}")
    database.query(LOG.format(path=sys.argv[1]))

    def rows(query):
        return [json.loads(line) for line in str(database.query(query)).splitlines()]

    agents, counts = rows(ROWS), rows(COUNTS)
    waiting = int(str(database.query(WAITING)))
    answer.give(agents, counts, waiting, time.perf_counter() - start)


main()
