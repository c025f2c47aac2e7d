use std::{
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

use super::{
    horizon::{HORIZON_FORMAT, Horizon},
    round::{FORMAT, GENESIS, Round},
};
use crate::files::{File, Files, How, Reading};

/// The tape's own file cannot be used.
#[derive(Debug, Error)]
pub enum TapeError {
    #[error("cannot read the tape {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write the tape {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "the tape {} is of format {format}, newer than the format {HORIZON_FORMAT} this runtape reads: use the runtape that wrote it, or a later one",
        path.display()
    )]
    Newer { path: PathBuf, format: u32 },
    #[error("the tape {} is damaged at line {line} (round {round}): {what}", path.display())]
    Damaged { path: PathBuf, line: u64, round: u64, what: String },
}

/// A place between two rounds of a tape, from which reading can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seam {
    /// Bytes of whole rounds before it.
    pub bytes: u64,
    pub next_round: u64,
    pub next_position: u64,
    /// Digest of the round before it.
    pub prev: String,
}

/// Reads the rounds of a tape in order, checking the chain. A torn last line is not there yet: at the end, the next call
/// looks again. Any other damage is an error that names its round.
pub struct Rounds {
    files: Files,
    path: PathBuf,
    reader: Option<BufReader<Reading>>,
    horizon: Option<Arc<Horizon>>,
    line: u64,
    /// Bytes of whole lines read so far.
    good_bytes: u64,
    next_round: u64,
    next_position: u64,
    prev: String,
}

impl Rounds {
    /// The rounds of a tape file; of none when there is no such file.
    ///
    /// # Errors
    /// The file exists and cannot be opened.
    pub fn open(files: &Files, path: &Path) -> Result<Rounds, TapeError> {
        let reader = match files.open(path, How::Read) {
            Ok(file) => Some(BufReader::with_capacity(256 * 1024, Reading::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(TapeError::Read { path: path.to_owned(), source }),
        };
        let mut rounds = Rounds {
            files: files.clone(),
            path: path.to_owned(),
            reader,
            horizon: None,
            line: 0,
            good_bytes: 0,
            next_round: 0,
            next_position: 0,
            prev: GENESIS.to_owned(),
        };
        rounds.begin()?;
        Ok(rounds)
    }

    /// Where history begins, when it was pruned.
    pub fn horizon(&self) -> Option<&Arc<Horizon>> {
        self.horizon.as_ref()
    }

    /// Reads the horizon record of a tape that was pruned; the rounds follow it.
    fn begin(&mut self) -> Result<(), TapeError> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let read_error = |source| TapeError::Read { path: self.path.clone(), source };
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).map_err(read_error)?;
        let Some(horizon) = line.strip_suffix(b"\n").filter(|line| is_horizon(line)) else {
            reader.seek(SeekFrom::Start(0)).map_err(read_error)?;
            return Ok(());
        };
        self.line = 1;
        let format = format_of(horizon);
        if format > HORIZON_FORMAT {
            return Err(TapeError::Newer { path: self.path.clone(), format });
        }
        let damaged = |what: String| TapeError::Damaged { path: self.path.clone(), line: 1, round: 0, what };
        let horizon: Horizon =
            serde_json::from_slice(horizon).map_err(|error| damaged(format!("not a horizon record: {error}")))?;
        if horizon.digest != horizon.expected_digest() || horizon.line().as_bytes() != &line[..line.len() - 1] {
            return Err(damaged("the digest of the horizon record does not match its content".to_owned()));
        }
        self.good_bytes = line.len() as u64;
        self.next_round = horizon.round;
        self.next_position = horizon.position;
        self.prev.clone_from(&horizon.prev);
        self.horizon = Some(Arc::new(horizon));
        Ok(())
    }

    /// The rounds after a place that was read up to before.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open_at(files: &Files, path: &Path, seam: &Seam) -> Result<Rounds, TapeError> {
        let mut rounds = Rounds::open(files, path)?;
        if let Some(reader) = &mut rounds.reader {
            let sought = reader.seek(SeekFrom::Start(seam.bytes));
            sought.map_err(|source| TapeError::Read { path: path.to_owned(), source })?;
        }
        let pruned = rounds.horizon.as_ref().map_or(0, |horizon| horizon.round);
        rounds.line = seam.next_round - pruned.min(seam.next_round) + u64::from(rounds.horizon.is_some());
        rounds.good_bytes = seam.bytes;
        rounds.next_round = seam.next_round;
        rounds.next_position = seam.next_position;
        rounds.prev.clone_from(&seam.prev);
        Ok(rounds)
    }

    /// Where it stands.
    pub fn seam(&self) -> Seam {
        Seam {
            bytes: self.good_bytes,
            next_round: self.next_round,
            next_position: self.next_position,
            prev: self.prev.clone(),
        }
    }

    fn read(&mut self) -> Result<Option<Round>, TapeError> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let read_error = |source| TapeError::Read { path: self.path.clone(), source };
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).map_err(read_error)?;
        if line.pop() != Some(b'\n') {
            reader.seek(SeekFrom::Start(self.good_bytes)).map_err(read_error)?;
            return Ok(None);
        }
        self.line += 1;
        let round = self.check(&line)?;
        self.good_bytes += line.len() as u64 + 1;
        self.next_round += 1;
        self.next_position = round.end();
        self.prev.clone_from(&round.digest);
        Ok(Some(round))
    }

    fn check(&self, line: &[u8]) -> Result<Round, TapeError> {
        let damaged = |what: String| TapeError::Damaged {
            path: self.path.clone(),
            line: self.line,
            round: self.next_round,
            what,
        };
        let format = format_of(line);
        if format > FORMAT {
            return Err(TapeError::Newer { path: self.path.clone(), format });
        }
        let round: Round = serde_json::from_slice(line).map_err(|e| damaged(format!("not a round: {e}")))?;
        if round.digest != round.expected_digest() || round.line().as_bytes() != line {
            return Err(damaged("its digest does not match its content".to_owned()));
        }
        if round.prev != self.prev {
            return Err(damaged("it does not continue the round before".to_owned()));
        }
        if (round.round, round.first) != (self.next_round, self.next_position) {
            return Err(damaged(format!(
                "it says round {} from position {}, where round {} from position {} is due",
                round.round, round.first, self.next_round, self.next_position
            )));
        }
        if round.first.checked_add(round.count).is_none() || round.round == u64::MAX {
            return Err(damaged(format!("it says {} lines from position {}", round.count, round.first)));
        }
        if let Some(extent) = round.extents.iter().find(|extent| extent.from >= extent.to) {
            return Err(damaged(format!("it says bytes {} to {} of file {}", extent.from, extent.to, extent.file)));
        }
        Ok(round)
    }
}

/// The format that a line of a tape says it is of; 0 when it says none.
fn format_of(line: &[u8]) -> u32 {
    #[derive(serde::Deserialize)]
    struct Format {
        v: u32,
    }
    serde_json::from_slice::<Format>(line).map_or(0, |format| format.v)
}

/// Whether a line takes the place of pruned rounds.
fn is_horizon(line: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Begin {
        #[serde(rename = "horizon")]
        _position: u64,
    }
    serde_json::from_slice::<Begin>(line).is_ok()
}

impl Iterator for Rounds {
    type Item = Result<Round, TapeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read().transpose();
        if matches!(item, Some(Err(_))) {
            self.reader = None;
        }
        item
    }
}

/// The tape opened for appending by its only owner.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes of whole rounds.
    bytes: u64,
    next_round: u64,
    next_position: u64,
    prev: String,
    /// A failed write left something that could not be cut off yet.
    torn: bool,
}

impl Journal {
    /// Opens (or begins) a tape, hands every round to `each`, and cuts a torn tail off before anything is appended.
    ///
    /// # Errors
    /// Damage anywhere but in the tail, or the file cannot be written.
    pub fn open(files: &Files, path: &Path, mut each: impl FnMut(Round)) -> Result<Journal, TapeError> {
        let mut rounds = Rounds::open(files, path)?;
        for round in rounds.by_ref() {
            each(round?);
        }
        Journal::after(&rounds)
    }

    /// Goes on where rounds were read to their end, and cuts off what is behind them.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn after(rounds: &Rounds) -> Result<Journal, TapeError> {
        let path = &rounds.path;
        let write_error = |source| TapeError::Write { path: path.clone(), source };
        let file = rounds.files.open(path, How::AppendOrMake).map_err(write_error)?;
        if file.about().map_err(write_error)?.len > rounds.good_bytes {
            file.set_len(rounds.good_bytes).map_err(write_error)?;
            file.sync_all().map_err(write_error)?;
        }
        Ok(Journal {
            path: path.clone(),
            file,
            bytes: rounds.good_bytes,
            next_round: rounds.next_round,
            next_position: rounds.next_position,
            prev: rounds.prev.clone(),
            torn: false,
        })
    }

    /// The number of the next round, its first position, and the digest it continues.
    pub fn head(&self) -> (u64, u64, &str) {
        (self.next_round, self.next_position, &self.prev)
    }

    /// Appends a sealed round with one write. What a failed write left is cut off, so that the tape stays whole.
    ///
    /// # Errors
    /// The write failed; the round is not on the tape.
    pub fn append(&mut self, round: &Round) -> Result<(), TapeError> {
        let mut line = round.line();
        line.push('\n');
        let written = self.cut_torn().and_then(|()| {
            self.torn = true;
            self.file.append(line.as_bytes()).map(drop)
        });
        if let Err(source) = written {
            // Should this fail too, the next append tries it again before it writes.
            let _ = self.cut_torn();
            return Err(TapeError::Write { path: self.path.clone(), source });
        }
        self.torn = false;
        self.bytes += line.len() as u64;
        self.next_round += 1;
        self.next_position = round.end();
        self.prev.clone_from(&round.digest);
        Ok(())
    }

    fn cut_torn(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.bytes)?;
            self.torn = false;
        }
        Ok(())
    }

    /// A handle for syncing beside the appends.
    ///
    /// # Errors
    /// The descriptor cannot be duplicated.
    pub fn sync_handle(&self) -> io::Result<File> {
        self.file.again()
    }
}
