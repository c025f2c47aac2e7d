"""rows.py DIR [TABLE]: every row of a table, in its order."""
import sys

import duckdb

table = sys.argv[2] if len(sys.argv) > 2 else "runs"
order = "position" if table == "runs" else "ts, agent"
for row in duckdb.sql(f"select * from read_parquet('{sys.argv[1]}/{table}/*/*.parquet', hive_partitioning = true) order by {order}").fetchall():
    print(row)
