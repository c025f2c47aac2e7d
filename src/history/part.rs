use std::{
    io::{self, Write},
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

use super::schema::{Column, Kind, Value};
use crate::files::File;

/// Rows of a part that are written together.
const GROUP_ROWS: usize = 32 << 10;

/// A file that is being written.
pub struct Part {
    /// Below the root, as it will be called.
    pub name: String,
    /// None of a part that stays as it was.
    writer: Option<SerializedFileWriter<Sink>>,
    buffers: Vec<Buffer>,
    rows: usize,
    /// When it was written to last, by the table's count of rows.
    pub used: u64,
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

impl Part {
    /// A part that will be called `name`, with nothing in it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn begin(name: String, file: Option<File>, schema: &TypePtr, columns: &[Column]) -> io::Result<Part> {
        let writer = file.map(|file| {
            let level = ZstdLevel::try_new(3)?;
            let properties = WriterProperties::builder()
                .set_compression(Compression::ZSTD(level))
                .set_created_by(format!("runtape {}", env!("CARGO_PKG_VERSION")))
                .build();
            SerializedFileWriter::new(Sink(file), schema.clone(), Arc::new(properties))
        });
        let writer = writer.transpose().map_err(said)?;
        let buffers = columns.iter().map(|column| Buffer::of(column.kind)).collect();
        Ok(Part { name, writer, buffers, rows: 0, used: 0 })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn push(&mut self, fields: &[Value]) -> io::Result<()> {
        if self.writer.is_none() {
            return Ok(());
        }
        for (buffer, value) in self.buffers.iter_mut().zip(fields) {
            buffer.push(*value);
        }
        self.rows += 1;
        if self.rows < GROUP_ROWS { Ok(()) } else { self.write_group().map_err(said) }
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let Some(writer) = self.writer.as_mut().filter(|_| self.rows > 0) else { return Ok(()) };
        let mut group = writer.next_row_group()?;
        for buffer in &mut self.buffers {
            buffer.write(&mut group)?;
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }

    /// Writes what is left, and the footer; whether there is a file of it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn end(mut self) -> io::Result<bool> {
        self.write_group().map_err(said)?;
        let Some(writer) = self.writer else { return Ok(false) };
        writer.into_inner().map_err(said)?.0.sync_all()?;
        Ok(true)
    }
}

/// What the disk said is kept, what the format says is put as an error of the disk.
fn said(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other.to_string()),
        },
        other => io::Error::other(other.to_string()),
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

/// The columns as Parquet has them.
pub fn schema(columns: &[Column]) -> TypePtr {
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
