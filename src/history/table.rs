use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io,
    path::{Path, PathBuf},
};

use parquet::schema::types::TypePtr;
use serde::{Deserialize, Serialize};

use super::{
    HistoryError,
    part::{self, Part},
    schema::{Column, Value},
};
use crate::{
    event::{Nanos, time},
    files::{File, Files, How},
};

/// Days that are written side by side: streams need not agree on when midnight is.
const OPEN_DAYS: usize = 4;

/// A day, by its date; what happened at no known time has none.
pub type Day = Option<i64>;

/// The day of a moment.
pub fn day(at: Option<Nanos>) -> Day {
    at.map(|at| at.div_euclid(time::DAY))
}

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
    /// Of other days nothing is written: their parts are as they were.
    only: Option<BTreeSet<Day>>,
    /// Parts that are whole and get their names together; without it, each gets its own at once.
    unnamed: Option<Vec<String>>,
}

/// How far a table is, when nothing of it is open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableMark {
    next: u64,
    rows: u64,
    finished: Vec<String>,
}

impl Table {
    /// A table below `root`.
    pub fn new(files: Files, root: PathBuf, columns: Vec<Column>) -> Table {
        let (schema, open, finished) = (part::schema(&columns), BTreeMap::new(), Vec::new());
        Table { files, root, columns, schema, open, next: 0, rows: 0, finished, only: None, unnamed: None }
    }

    /// The same, whose parts wait for their names: what stands under them is as it was until [`Self::name`].
    pub fn waiting(self) -> Table {
        Table { unnamed: Some(Vec::new()), ..self }
    }

    /// The same table from here on, with nothing in it yet, as if it had gone on from a mark: with parts that wait for
    /// their names, and of some days only where `only` says so.
    pub fn behind(&self, only: Option<BTreeSet<Day>>) -> Table {
        let (files, root, columns) = (self.files.clone(), self.root.clone(), self.columns.clone());
        Table { only, next: self.next, rows: self.rows, ..Table::new(files, root, columns).waiting() }
    }

    /// Goes on from a mark: parts that were begun after it are removed.
    ///
    /// # Errors
    /// A part cannot be removed.
    pub fn resume(self, mark: TableMark) -> Result<Table, HistoryError> {
        let known: HashSet<PathBuf> = mark.finished.iter().map(|part| self.root.join(part)).collect();
        self.remove(|part| !known.contains(part))?;
        Ok(self.at(mark))
    }

    /// The same, where nothing is removed.
    pub fn at(self, mark: TableMark) -> Table {
        Table { next: mark.next, rows: mark.rows, finished: mark.finished, ..self }
    }

    /// Removes parts, whole or begun.
    ///
    /// # Errors
    /// A part cannot be removed.
    pub fn remove(&self, which: impl Fn(&Path) -> bool) -> Result<(), HistoryError> {
        let ours = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-"));
        for day in self.files.list(&self.root).unwrap_or_default() {
            for part in self.files.list(&day).unwrap_or_default() {
                if ours(&part) && which(&part) {
                    self.files.remove(&part).map_err(|source| HistoryError::Write { path: part, source })?;
                }
            }
        }
        Ok(())
    }

    /// Removes what was begun and never got its name.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub fn remove_begun(&self) -> Result<(), HistoryError> {
        self.remove(|part| part.extension().is_some_and(|extension| extension == "part"))
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
        let day = day(at);
        if !self.open.contains_key(&day) {
            self.begin(day)?;
        }
        self.rows += 1;
        let Some(part) = self.open.get_mut(&day) else { return Ok(()) };
        part.used = self.rows;
        let written = part.push(fields);
        written.map_err(|source| HistoryError::Write { path: beside(&self.root, &part.name), source })
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
        let begun = self.file(day, &path).and_then(|file| Part::begin(name, file, &self.schema, &self.columns));
        let part = begun.map_err(|source| HistoryError::Write { path, source })?;
        self.open.insert(day, part);
        Ok(())
    }

    /// Where a part is written; none of one that stays as it was.
    fn file(&self, day: Day, path: &Path) -> io::Result<Option<File>> {
        if self.only.as_ref().is_some_and(|only| !only.contains(&day)) {
            return Ok(None);
        }
        path.parent().map_or(Ok(()), |dir| self.files.make_dirs(dir))?;
        self.files.open(path, How::Anew).map(Some)
    }

    /// Gives a part its footer and its name.
    fn end(&mut self, day: Day) -> Result<(), HistoryError> {
        let Some(part) = self.open.remove(&day) else { return Ok(()) };
        let name = part.name.clone();
        let written = part.end().map_err(|source| HistoryError::Write { path: beside(&self.root, &name), source })?;
        match &mut self.unnamed {
            _ if !written => {}
            Some(unnamed) => unnamed.push(name.clone()),
            None => self.give_name(&name)?,
        }
        self.finished.push(name);
        Ok(())
    }

    /// Gives all parts that wait for it their names, in the place of what stood there.
    ///
    /// # Errors
    /// A file cannot be renamed.
    pub fn name(&mut self) -> Result<(), HistoryError> {
        for part in self.unnamed.as_mut().map(std::mem::take).unwrap_or_default() {
            self.give_name(&part)?;
        }
        Ok(())
    }

    fn give_name(&self, part: &str) -> Result<(), HistoryError> {
        let name = self.root.join(part);
        let named = self.files.rename(&beside(&self.root, part), &name);
        let synced = named.and_then(|()| name.parent().map_or(Ok(()), |dir| self.files.sync_dir(dir)));
        synced.map_err(|source| HistoryError::Write { path: name, source })
    }
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
