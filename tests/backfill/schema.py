"""schema.py DIR TABLE: the columns of a table with their types, as they stand in each of its files."""
import json
import sys
from pathlib import Path

import pyarrow.parquet

NAMES = {("INT64", "None"): "INT64", ("DOUBLE", "None"): "DOUBLE", ("BOOLEAN", "None"): "BOOLEAN", ("BYTE_ARRAY", "String"): "STRING"}


def kind(column):
    logical = str(column.logical_type)
    if logical.startswith("Timestamp"):
        assert "isAdjustedToUTC=true" in logical and "microseconds" in logical, logical
        return "TIMESTAMP_MICROS"
    return NAMES[column.physical_type, logical]


schemas = set()
for path in Path(sys.argv[1], sys.argv[2]).glob("*/*.parquet"):
    schema = pyarrow.parquet.ParquetFile(path).schema
    schemas.add(json.dumps([[schema.column(i).name, kind(schema.column(i))] for i in range(len(schema))]))
assert len(schemas) == 1, schemas
print(schemas.pop())
