"""rows.py DIR: every row of a table of runs, in the order of positions."""
import sys

import duckdb

for row in duckdb.sql(f"select * from read_parquet('{sys.argv[1]}/runs/*/*.parquet', hive_partitioning = true) order by position").fetchall():
    print(row)
