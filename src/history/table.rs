use std::{
    collections::{BTreeMap, HashSet},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::{Type, TypePtr},
};

use serde::{Deserialize, Serialize};

use super::{
    HistoryError,
    schema::{Column, Kind, Value},
};
use crate::{
    event::{Nanos, time},
    files::{File, Files, How},
};

/// Rows of a day that are written together.
const GROUP_ROWS: usize = 32 << 10;

/// Days that are written side by side: streams need not agree on when midnight is.
const OPEN_DAYS: usize = 4;

/// A day, by its date; what happened at no known time has none.
type Day = Option<i64>;

/// A table on its way to `<root>/day=YYYY-MM-DD/part-NNNNNN.parquet`.
pub struct Table {
    files: Files,
    root: PathBuf,
    columns: Vec<Column>,
    schema: TypePtr,
    open: BTreeMap<Day, Part>,
    /// Number of the next part.
    next: u64,
    rows: u64,
    /// Parts that are finished, by their paths below the root.
    pub finished: Vec<String>,
}

/// How far a table is, when nothing of it is open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableMark {
    next: u64,
    rows: u64,
    finished: Vec<String>,
}

/// A file that is being written.
struct Part {
    /// Below the root, as it will be called.
    name: String,
    writer: SerializedFileWriter<Sink>,
    buffers: Vec<Buffer>,
    rows: usize,
    /// When it was written to last, by the table's count of rows.
    used: u64,
}

/// The file of a part.
struct Sink(File);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Values of a column that wait for their row group; the levels say which rows have one.
struct Buffer {
    values: Values,
    levels: Vec<i16>,
}

enum Values {
    Int(Vec<i64>),
    Float(Vec<f64>),
    Bool(Vec<bool>),
    Text(Vec<ByteArray>),
}

impl Table {
    /// A table below `root`.
    pub fn new(files: Files, root: PathBuf, columns: Vec<Column>) -> Table {
        let schema = schema(&columns);
        Table { files, root, columns, schema, open: BTreeMap::new(), next: 0, rows: 0, finished: Vec::new() }
    }

    /// Goes on from a mark: parts that were begun after it are removed.
    ///
    /// # Errors
    /// A part cannot be removed.
    pub fn resume(self, mark: TableMark) -> Result<Table, HistoryError> {
        let known: HashSet<PathBuf> = mark.finished.iter().map(|part| self.root.join(part)).collect();
        let ours = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-"));
        for day in self.files.list(&self.root).unwrap_or_default() {
            for part in self.files.list(&day).unwrap_or_default() {
                if ours(&part) && !known.contains(&part) {
                    self.files.remove(&part).map_err(|source| HistoryError::Write { path: part, source })?;
                }
            }
        }
        Ok(Table { next: mark.next, rows: mark.rows, finished: mark.finished, ..self })
    }

    /// Finishes what is open; how far it is.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn mark(&mut self) -> Result<TableMark, HistoryError> {
        self.finish()?;
        Ok(TableMark { next: self.next, rows: self.rows, finished: self.finished.clone() })
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Adds a row to the day of `at`; its fields in the order of the columns.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn push(&mut self, at: Option<Nanos>, fields: &[Value]) -> Result<(), HistoryError> {
        let day = at.map(|at| at.div_euclid(time::DAY));
        if !self.open.contains_key(&day) {
            self.begin(day)?;
        }
        self.rows += 1;
        let Some(part) = self.open.get_mut(&day) else { return Ok(()) };
        for (buffer, value) in part.buffers.iter_mut().zip(fields) {
            buffer.push(*value);
        }
        (part.rows, part.used) = (part.rows + 1, self.rows);
        if part.rows < GROUP_ROWS {
            return Ok(());
        }
        let written = part.write_group();
        written.map_err(|error| failed(&self.root.join(&part.name), error))
    }

    /// Finishes what is open: from here on every row is on the disk, under its name.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn finish(&mut self) -> Result<(), HistoryError> {
        while let Some((day, _)) = self.open.first_key_value() {
            let day = *day;
            self.end(day)?;
        }
        Ok(())
    }

    fn begin(&mut self, day: Day) -> Result<(), HistoryError> {
        if self.open.len() >= OPEN_DAYS
            && let Some((oldest, _)) = self.open.iter().min_by_key(|(_, part)| part.used)
        {
            let oldest = *oldest;
            self.end(oldest)?;
        }
        let name = format!("{}/part-{:06}.parquet", folder(day), self.next);
        self.next += 1;
        let path = beside(&self.root, &name);
        let opened = make_dir(&self.files, &path).and_then(|()| self.files.open(&path, How::Anew));
        let file = opened.map_err(|source| HistoryError::Write { path: path.clone(), source })?;
        let level = ZstdLevel::try_new(3).map_err(|error| failed(&path, error))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(format!("runtape {}", env!("CARGO_PKG_VERSION")))
            .build();
        let writer = SerializedFileWriter::new(Sink(file), self.schema.clone(), Arc::new(properties));
        let writer = writer.map_err(|error| failed(&path, error))?;
        let buffers = self.columns.iter().map(|column| Buffer::of(column.kind)).collect();
        self.open.insert(day, Part { name, writer, buffers, rows: 0, used: self.rows });
        Ok(())
    }

    /// Gives a part its footer and its name.
    fn end(&mut self, day: Day) -> Result<(), HistoryError> {
        let Some(mut part) = self.open.remove(&day) else { return Ok(()) };
        let (path, name) = (beside(&self.root, &part.name), self.root.join(&part.name));
        part.write_group().map_err(|error| failed(&path, error))?;
        let sink = part.writer.into_inner().map_err(|error| failed(&path, error))?;
        let named = sink.0.sync_all().and_then(|()| self.files.rename(&path, &name));
        let synced = named.and_then(|()| name.parent().map_or(Ok(()), |dir| self.files.sync_dir(dir)));
        synced.map_err(|source| HistoryError::Write { path: name, source })?;
        self.finished.push(part.name);
        Ok(())
    }
}

impl Part {
    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for buffer in &mut self.buffers {
            buffer.write(&mut group)?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

impl Buffer {
    fn of(kind: Kind) -> Buffer {
        let values = match kind {
            Kind::Int | Kind::Time => Values::Int(Vec::new()),
            Kind::Float => Values::Float(Vec::new()),
            Kind::Bool => Values::Bool(Vec::new()),
            Kind::Text => Values::Text(Vec::new()),
        };
        Buffer { values, levels: Vec::new() }
    }

    /// A value of another kind than the column's is none.
    fn push(&mut self, value: Value) {
        let there = match (&mut self.values, value) {
            (Values::Int(list), Value::Int(x)) => {
                list.push(x);
                true
            }
            (Values::Float(list), Value::Float(x)) => {
                list.push(x);
                true
            }
            (Values::Bool(list), Value::Bool(x)) => {
                list.push(x);
                true
            }
            (Values::Text(list), Value::Text(x)) => {
                list.push(ByteArray::from(x));
                true
            }
            (_, value) => {
                debug_assert!(value == Value::Null, "{value:?} is not of its column's kind");
                false
            }
        };
        self.levels.push(i16::from(there));
    }

    /// Writes the values as the next column of a row group, and forgets them.
    fn write(&mut self, group: &mut SerializedRowGroupWriter<Sink>) -> Result<(), ParquetError> {
        match &mut self.values {
            Values::Int(list) => write_column::<Int64Type>(group, list, &self.levels)?,
            Values::Float(list) => write_column::<DoubleType>(group, list, &self.levels)?,
            Values::Bool(list) => write_column::<BoolType>(group, list, &self.levels)?,
            Values::Text(list) => write_column::<ByteArrayType>(group, list, &self.levels)?,
        }
        self.levels.clear();
        Ok(())
    }
}

fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<Sink>,
    values: &mut Vec<T::T>,
    levels: &[i16],
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("a row has more fields than the schema".to_owned()));
    };
    column.typed::<T>().write_batch(values, Some(levels), None)?;
    values.clear();
    column.close()
}

fn schema(columns: &[Column]) -> TypePtr {
    let field = |column: &Column| {
        let (physical, logical) = match column.kind {
            Kind::Int => (Physical::INT64, None),
            Kind::Float => (Physical::DOUBLE, None),
            Kind::Bool => (Physical::BOOLEAN, None),
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
        };
        let primitive = Type::primitive_type_builder(&column.name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical);
        Arc::new(primitive.build().expect("a logical type that fits its physical one"))
    };
    let fields = columns.iter().map(field).collect();
    let group = Type::group_type_builder("schema").with_fields(fields).build();
    Arc::new(group.expect("a group of primitive fields"))
}

/// The folder of a day, as hive calls it.
fn folder(day: Day) -> String {
    match day {
        Some(day) => format!("day={}", time::day_text(day.saturating_mul(time::DAY))),
        None => "day=__HIVE_DEFAULT_PARTITION__".to_owned(),
    }
}

/// Where a part is written until it is whole: readers of `*.parquet` never see half of one.
fn beside(root: &Path, name: &str) -> PathBuf {
    root.join(format!("{name}.part"))
}

fn make_dir(files: &Files, path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |dir| files.make_dirs(dir))
}

/// What the disk said is kept, what the format says is put as an error of the disk.
fn failed(path: &Path, error: ParquetError) -> HistoryError {
    let source = match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other.to_string()),
        },
        other => io::Error::other(other.to_string()),
    };
    HistoryError::Write { path: path.to_owned(), source }
}
