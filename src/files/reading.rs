use std::io::{self, Read, Seek, SeekFrom};

use super::File;

/// An open file as a stream of bytes.
#[derive(Debug)]
pub struct Reading {
    file: File,
    at: u64,
}

impl Reading {
    pub fn new(file: File) -> Reading {
        Reading { file, at: 0 }
    }

    /// From an offset on.
    pub fn at(self, at: u64) -> Reading {
        Reading { at, ..self }
    }
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Reading {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.file.about()?.len.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "before the start of the file"))?;
        Ok(self.at)
    }
}
