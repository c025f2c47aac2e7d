use std::{
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::atomic;
use crate::files::{Files, How, Reading};

/// What a snapshot says of itself, in its first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Format of the file.
    pub v: u32,
    /// Whose state.
    pub of: String,
    /// Version of that state.
    pub version: u32,
    /// The state is the fold of all positions before this one.
    pub position: u64,
    /// The round that ends there, and its digest.
    pub round: u64,
    pub tape: String,
    /// Hash of the policy in force.
    pub policy: String,
    /// Bytes of the state, and their BLAKE3.
    pub bytes: u64,
    pub data: String,
    /// BLAKE3 of this line without it. Older snapshots have none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub seal: String,
}

/// State and position as one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub header: Header,
    pub state: Vec<u8>,
}

const FORMAT: u32 = 1;

/// More than any header has.
const HEADER_BYTES_MAX: u64 = 64 * 1024;

/// Snapshots of each kind kept: should the newest not be readable, the one before is.
const GENERATIONS: usize = 2;

/// Older snapshots kept at most, above the one that somebody may have to go back to.
const BETWEEN_MAX: usize = 8;

impl Snapshot {
    pub fn new(of: &str, version: u32, position: u64, tape: (u64, &str), policy: &str, state: Vec<u8>) -> Snapshot {
        let mut header = Header {
            v: FORMAT,
            of: of.to_owned(),
            version,
            position,
            round: tape.0,
            tape: tape.1.to_owned(),
            policy: policy.to_owned(),
            bytes: state.len() as u64,
            data: blake3::hash(&state).to_hex().to_string(),
            seal: String::new(),
        };
        header.seal = header.expected_seal();
        Snapshot { header, state }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.line();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.state);
        bytes
    }

    /// Reads a snapshot back; an unreadable one counts as absent.
    ///
    /// # Errors
    /// Says why.
    pub fn from_bytes(bytes: &[u8]) -> Result<Snapshot, String> {
        let end = memchr::memchr(b'\n', bytes).ok_or("it has no header")?;
        let header = Header::parse(&bytes[..end])?;
        let state = &bytes[end + 1..];
        if header.bytes != state.len() as u64 || header.data != blake3::hash(state).to_hex().as_str() {
            return Err("its content does not match its checksum".to_owned());
        }
        Ok(Snapshot { header, state: state.to_vec() })
    }
}

impl Header {
    /// A header as it stands in a file; one that was changed is none.
    fn parse(line: &[u8]) -> Result<Header, String> {
        let header: Header = serde_json::from_slice(line).map_err(|e| format!("its header: {e}"))?;
        if header.v != FORMAT {
            return Err(format!("it is of format {}, this runtape reads {FORMAT}", header.v));
        }
        let sealed = header.seal.is_empty() || header.seal == header.expected_seal();
        if sealed && header.line() == line {
            Ok(header)
        } else {
            Err("its header does not match its checksum".to_owned())
        }
    }

    fn line(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a header holds only text and integers")
    }

    fn expected_seal(&self) -> String {
        let open = Header { seal: String::new(), ..self.clone() };
        blake3::hash(&open.line()).to_hex().to_string()
    }
}

/// The snapshots of an events directory.
#[derive(Clone, Debug)]
pub struct Snapshots {
    files: Files,
    dir: PathBuf,
}

/// A snapshot that was passed over, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    pub path: PathBuf,
    pub why: String,
}

impl Snapshots {
    pub fn new(files: Files, dir: PathBuf) -> Snapshots {
        Snapshots { files, dir }
    }

    /// Where they lie.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a snapshot durably, then drops all but the newest generations of its kind, and the newest one at or before
    /// `reach`: so far back somebody may have to go.
    ///
    /// # Errors
    /// It could not be written; older ones are kept.
    pub fn write(&self, snapshot: &Snapshot, reach: u64) -> io::Result<()> {
        self.files.make_dirs(&self.dir)?;
        let of = &snapshot.header.of;
        let path = self.path(of, snapshot.header.position);
        atomic::replace(&self.files, &path, &snapshot.to_bytes())?;
        let list = self.list(of)?;
        let reaches = |path: &PathBuf| position_in_name(path).is_some_and(|position| position <= reach);
        let oldest = list.iter().position(reaches).unwrap_or(list.len());
        for (nth, old) in list.into_iter().enumerate().skip(GENERATIONS) {
            // Whoever may go back will come forward again, and then need not go so far: some in between are kept too.
            if nth > oldest || nth + BETWEEN_MAX < oldest {
                self.files.remove(&old)?;
            }
        }
        Ok(())
    }

    /// Writes a snapshot durably, and drops none.
    ///
    /// # Errors
    /// It could not be written.
    pub fn keep(&self, snapshot: &Snapshot) -> io::Result<()> {
        self.files.make_dirs(&self.dir)?;
        atomic::replace(&self.files, &self.path(&snapshot.header.of, snapshot.header.position), &snapshot.to_bytes())
    }

    /// Where the snapshot of one kind at a position lies.
    pub fn path(&self, of: &str, position: u64) -> PathBuf {
        self.dir.join(format!("{}.snapshot", name(of, position)))
    }

    /// The snapshot of one kind at a position.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn read(&self, of: &str, position: u64) -> Result<Snapshot, String> {
        let path = self.path(of, position);
        let bytes = self.files.read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Snapshot::from_bytes(&bytes).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// The position of the oldest of the generations of a kind that are always kept; 0 while there are fewer.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn oldest_kept(&self, of: &str) -> io::Result<u64> {
        Ok(self.list(of)?.get(GENERATIONS - 1).and_then(|path| position_in_name(path)).unwrap_or(0))
    }

    /// The newest snapshot of one kind at or before a position, and those that were passed over on the way with their
    /// reasons. `fits` refuses those that are readable but stand on another history or version.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn newest(
        &self,
        of: &str,
        at_most: u64,
        fits: impl Fn(&Header) -> Result<(), String>,
    ) -> io::Result<(Option<Snapshot>, Vec<PassedOver>)> {
        let mut passed = Vec::new();
        for path in self.list(of)? {
            if position_in_name(&path).is_some_and(|position| position > at_most) {
                continue;
            }
            let read = self.files.read(&path).map_err(|error| error.to_string());
            let snapshot = read.and_then(|bytes| Snapshot::from_bytes(&bytes)).and_then(|snapshot| {
                if snapshot.header.of != of {
                    return Err(format!("it is of `{}`", snapshot.header.of));
                }
                if Some(snapshot.header.position) != position_in_name(&path) {
                    return Err("it is of another position than its name says".to_owned());
                }
                fits(&snapshot.header).map(|()| snapshot)
            });
            match snapshot {
                Ok(snapshot) => return Ok((Some(snapshot), passed)),
                Err(why) => passed.push(PassedOver { path, why }),
            }
        }
        Ok((None, passed))
    }

    /// The headers of every readable snapshot.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn headers(&self) -> io::Result<Vec<(PathBuf, Result<Header, String>)>> {
        let mut paths = self.paths()?;
        paths.sort();
        let header = |path: &Path, bytes: &[u8]| {
            let header = Snapshot::from_bytes(bytes)?.header;
            let name = name(&header.of, header.position);
            let named = path.file_stem().is_some_and(|stem| *stem == *name);
            if named { Ok(header) } else { Err(format!("its name is not that of {name}")) }
        };
        let read = |path: PathBuf| {
            let header = match self.files.read(&path) {
                // Whoever writes newer ones removed it since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                other => other.map_err(|error| error.to_string()).and_then(|bytes| header(&path, &bytes)),
            };
            Some((path, header))
        };
        Ok(paths.into_iter().filter_map(read).collect())
    }

    /// The rounds on which snapshots say that they stand; of each only the header is read.
    pub fn rounds(&self) -> Vec<u64> {
        self.standing().into_iter().map(|header| header.round).collect()
    }

    /// The first line of each snapshot, as far as it can be read.
    pub fn standing(&self) -> Vec<Header> {
        let header = |path: &PathBuf| {
            let mut line = Vec::new();
            let file = Reading::new(self.files.open(path, How::Read).ok()?).take(HEADER_BYTES_MAX);
            BufReader::new(file).read_until(b'\n', &mut line).ok()?;
            Header::parse(line.strip_suffix(b"\n")?).ok()
        };
        self.paths().unwrap_or_default().iter().filter_map(header).collect()
    }

    fn paths(&self) -> io::Result<Vec<PathBuf>> {
        let paths = match self.files.list(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "snapshot")).collect())
    }

    /// Paths of one kind, newest first: the position in the name has a fixed width.
    fn list(&self, of: &str) -> io::Result<Vec<PathBuf>> {
        let of_kind = |path: &PathBuf| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            stem.rsplit_once('-').is_some_and(|(name, _)| name == of)
        };
        let mut paths: Vec<PathBuf> = self.paths()?.into_iter().filter(of_kind).collect();
        paths.sort();
        paths.reverse();
        Ok(paths)
    }
}

/// What the file of a snapshot is called.
fn name(of: &str, position: u64) -> String {
    format!("{of}-{position:020}")
}

/// The position that a file name says.
fn position_in_name(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn snapshot(position: u64) -> Snapshot {
        Snapshot::new("runs", 1, position, (0, "digest"), "b3:policy", vec![7; 100])
    }

    fn newest(snapshots: &Snapshots) -> Option<u64> {
        snapshots.newest("runs", u64::MAX, |_| Ok(())).expect("a listable folder").0.map(|s| s.header.position)
    }

    #[test]
    fn two_generations_are_kept_and_a_broken_one_gives_way_to_the_older() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let snapshots = Snapshots::new(Files::machine(), dir.path().join("snapshots"));
        for position in [10, 20, 30] {
            snapshots.write(&snapshot(position), u64::MAX).expect("a writable folder");
        }
        assert_eq!(snapshots.list("runs").expect("a listable folder").len(), 2);
        assert_eq!(newest(&snapshots), Some(30));
        let path = snapshots.list("runs").expect("a listable folder").remove(0);
        let whole = fs::read(&path).expect("the snapshot");
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&path, &flipped).expect("a writable file");
            let read = snapshots.newest("runs", u64::MAX, |_| Ok(())).expect("a listable folder").0;
            assert_eq!(read.map(|s| s.header.position), Some(20), "a flipped byte at {at} was not noticed");
            fs::write(&path, &whole[..at]).expect("a writable file");
            assert_eq!(newest(&snapshots), Some(20), "cut at {at}");
        }
        fs::write(&path, b"").expect("a writable file");
        assert_eq!(newest(&snapshots), Some(20));
    }

    #[test]
    fn what_somebody_may_go_back_to_is_kept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let snapshots = Snapshots::new(Files::machine(), dir.path().join("snapshots"));
        let write = |position, reach| {
            snapshots.write(&snapshot(position), reach).expect("a writable folder");
            let list = snapshots.list("runs").expect("a listable folder");
            list.iter().filter_map(|path| position_in_name(path)).collect::<Vec<u64>>()
        };
        assert_eq!(write(10, 0), [10]);
        assert_eq!(write(20, 0), [20, 10]);
        assert_eq!(write(30, 15), [30, 20, 10]);
        assert_eq!(write(40, 25), [40, 30, 20]);
        assert_eq!(write(50, 45), [50, 40]);
        (6..=30).for_each(|n| drop(write(n * 10, 45)));
        assert_eq!(write(310, 45), [310, 300, 120, 110, 100, 90, 80, 70, 60, 50, 40], "somebody stays down");
        assert_eq!(write(320, 315), [320, 310]);
        assert_eq!(snapshots.oldest_kept("runs").expect("a listable folder"), 310);
    }
}
