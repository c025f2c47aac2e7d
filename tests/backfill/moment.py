"""moment.py DIR SECONDS: the rows of the table of series at a moment, by agent, as JSON."""
import json
import sys

import duckdb

rows = duckdb.sql(f"select * exclude (ts, day) from read_parquet('{sys.argv[1]}/series/*/*.parquet', hive_partitioning = true) where epoch(ts) = {sys.argv[2]}")
print(json.dumps({row[rows.columns.index("agent")]: dict(zip(rows.columns, row)) for row in rows.fetchall()}))
