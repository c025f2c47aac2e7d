use std::{io, path::PathBuf};

use super::{CHUNK, Source};
use crate::{
    files::{File, How, read_exact_at},
    store::journal::Mark,
};

/// A decisions file as far as it is whole.
pub struct Reader {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Reader {
    /// `None`: this consumer has decided nothing yet.
    pub fn open(source: &Source) -> io::Result<Option<Reader>> {
        let file = match source.files.open(&source.path, How::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = file.about()?.len;
        Ok(Some(Reader { path: source.path.clone(), file, len }))
    }

    pub fn damaged(&self, offset: u64) -> io::Error {
        let what = format!("{} holds no decision at byte {offset}: run `runtape verify`", self.path.display());
        io::Error::new(io::ErrorKind::InvalidData, what)
    }

    /// The offset of the first line whose mark is at least `from`, or of a line not far before it. Marks ascend, so it
    /// halves the file.
    pub fn seek(&self, from: Mark) -> io::Result<u64> {
        // `low` is the start of a line before `from` (or the first one); no line that begins in `high..` is before it.
        let (mut low, mut high) = (0, self.len);
        while high - low > CHUNK as u64 {
            let middle = low + (high - low) / 2;
            match self.line_after(middle, high)? {
                Some((start, mark)) if mark < from => low = start,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The first whole line that begins after `offset` and before `end`.
    fn line_after(&self, offset: u64, end: u64) -> io::Result<Option<(u64, Mark)>> {
        let mut lines = Lines::new(self.again()?, offset);
        // What is left of the line in which the offset lies.
        if lines.next()?.is_none() {
            return Ok(None);
        }
        match lines.next()? {
            Some((start, text)) if start < end => {
                let mark = serde_json::from_slice(&text).map_err(|_| self.damaged(start))?;
                Ok(Some((start, mark)))
            }
            _ => Ok(None),
        }
    }

    /// The mark of the last whole line.
    pub fn last(&self) -> io::Result<Option<Mark>> {
        let mut back = CHUNK as u64;
        loop {
            let start = self.len.saturating_sub(back);
            let mut lines = Lines::new(self.again()?, start);
            if start > 0 {
                lines.next()?;
            }
            let mut last = None;
            while let Some(line) = lines.next()? {
                last = Some(line);
            }
            if let Some((offset, text)) = last {
                return serde_json::from_slice(&text).map(Some).map_err(|_| self.damaged(offset));
            }
            if start == 0 {
                return Ok(None);
            }
            back *= 4;
        }
    }

    fn again(&self) -> io::Result<Reader> {
        Ok(Reader { path: self.path.clone(), file: self.file.again()?, len: self.len })
    }
}

/// Whole lines from an offset on; a line without its newline is being written and not there yet.
pub struct Lines {
    pub reader: Reader,
    /// Offset of `buffer[start]`.
    offset: u64,
    buffer: Vec<u8>,
    start: usize,
}

impl Lines {
    pub fn new(reader: Reader, offset: u64) -> Lines {
        Lines { reader, offset, buffer: Vec::new(), start: 0 }
    }

    pub fn next(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let mut searched = self.start;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let newline = searched + at;
                let line = self.buffer[self.start..newline].to_vec();
                let at = self.offset;
                self.offset += (newline + 1 - self.start) as u64;
                self.start = newline + 1;
                return Ok(Some((at, line)));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            searched = self.buffer.len();
            let end = self.offset + self.buffer.len() as u64;
            let more = self.reader.len.saturating_sub(end).min(CHUNK as u64) as usize;
            if more == 0 {
                return Ok(None);
            }
            self.buffer.resize(searched + more, 0);
            read_exact_at(&*self.reader.file, &mut self.buffer[searched..], end)?;
        }
    }
}
