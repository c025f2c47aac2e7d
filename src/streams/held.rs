use std::{collections::HashMap, error::Error, io};

use super::scan::{Found, Inode, Problem};

/// What was a file like when it was last looked at.
type Look = (u64, i64);

#[derive(Debug)]
struct Held {
    /// When it was last read.
    tried: Look,
    last: Look,
    /// Looks since it last changed.
    still: u32,
    /// For people; a copy in the making is no problem.
    why: Option<String>,
    /// The generation it holds a part of.
    part_of: Option<usize>,
    /// How often in a row the disk would not give it, and the looks until it is asked again.
    failed: u32,
    rest: u32,
}

/// A file that keeps still for so many looks is not in the making any more.
const STILL: u32 = 20;

/// A file that the disk would not give is left alone for at most so many looks.
const REST_MAX: u32 = 63;

/// The files held back, by inode. A look at one costs nothing until it changes, and while it changes it is not read
/// again and again from its start.
#[derive(Debug, Default)]
pub struct HeldFiles(HashMap<Inode, Held>);

impl HeldFiles {
    /// Holds a file back after it was read in vain.
    pub fn hold(&mut self, file: &Found, why: Option<String>, part_of: Option<usize>) {
        let look = (file.len, file.modified);
        let held = Held { tried: look, last: look, still: 0, why, part_of, failed: 0, rest: 0 };
        self.0.insert(file.id.inode(), held);
    }

    /// Holds a file back that could not be read. What is in it may be wrong until it changes; where the disk would not
    /// give it, the next look may find it better, and the one after it: soon, then ever more rarely.
    pub fn hold_unread(&mut self, file: &Found, error: &io::Error) {
        let failed = self.0.get(&file.id.inode()).map_or(0, |held| held.failed) + 1;
        self.hold(file, Some(error.to_string()), None);
        if let Some(held) = self.0.get_mut(&file.id.inode()).filter(|_| is_of_the_system(error)) {
            (held.failed, held.rest) = (failed, ((1 << (failed - 1).min(6)) - 1).min(REST_MAX));
        }
    }

    /// Whether a file is to be left alone at this look; says why, where that is a problem.
    pub fn waits(&mut self, file: &Found, problems: &mut Vec<Problem>) -> bool {
        let Some(held) = self.0.get_mut(&file.id.inode()) else { return false };
        let look = (file.len, file.modified);
        held.still = if look == held.last { held.still.saturating_add(1) } else { 0 };
        held.last = look;
        if held.failed > 0 && held.rest == 0 {
            return false;
        }
        held.rest = held.rest.saturating_sub(1);
        let settled = held.still == 1 || file.len / 2 >= held.tried.0;
        if look != held.tried && settled && held.failed == 0 {
            return false;
        }
        if let Some(why) = &held.why {
            problems.push(Problem { path: file.path.clone(), what: why.clone() });
        }
        true
    }

    /// Whether a file has kept still for so long that nobody is making it.
    pub fn keeps_still(&self, file: &Found) -> bool {
        self.0.get(&file.id.inode()).is_some_and(|held| held.still >= STILL)
    }

    pub fn has(&self, inode: Inode) -> bool {
        self.0.contains_key(&inode)
    }

    pub fn release(&mut self, inode: Inode) {
        self.0.remove(&inode);
    }

    /// Looks anew at everything that holds a part of a generation.
    pub fn release_parts(&mut self, of: usize) {
        self.0.retain(|_, held| held.part_of != Some(of));
    }

    /// Forgets what left the directory.
    pub fn retain(&mut self, present: impl Fn(&Inode) -> bool) {
        self.0.retain(|inode, _| present(inode));
    }
}

/// Whether the system said it, be it beneath other words: what is in a file is not the reason.
fn is_of_the_system(error: &io::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        next = match error.downcast_ref::<io::Error>() {
            Some(error) if error.raw_os_error().is_some() => return true,
            Some(error) => error.get_ref().map(|error| error as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{FileId, name};

    fn file(len: u64) -> Found {
        let name = name::parse("runs.jsonl.1.gz").expect("a stream file");
        let id = FileId { dev: 1, ino: 2, birth: None };
        Found { path: "runs.jsonl.1.gz".into(), name, id, len, modified: 0 }
    }

    #[test]
    fn a_file_is_read_again_only_when_it_settled_or_doubled() {
        let (mut held, mut problems) = (HeldFiles::default(), Vec::new());
        held.hold(&file(10), Some("not finished".to_owned()), None);
        let sizes = [10, 10, 11, 12, 12, 20];
        let waits: Vec<bool> = sizes.iter().map(|len| held.waits(&file(*len), &mut problems)).collect();
        assert_eq!(waits, [true, true, true, true, false, false]);
        assert_eq!(problems.len(), 4, "told at every look that leaves it alone");
        held.release((1, 2));
        assert!(!held.waits(&file(10), &mut problems));
    }

    #[test]
    fn a_file_that_the_disk_would_not_give_is_read_again_unchanged_soon_and_then_ever_more_rarely() {
        let (mut held, mut problems) = (HeldFiles::default(), Vec::new());
        let disk = || io::Error::from_raw_os_error(5);
        let mut rests = |error: &dyn Fn() -> io::Error| -> Vec<usize> {
            let mut rest = |_| {
                held.hold_unread(&file(10), &error());
                (0..100).take_while(|_| held.waits(&file(10), &mut problems)).count()
            };
            (0..9).map(&mut rest).collect()
        };
        assert_eq!(rests(&disk), [0, 1, 3, 7, 15, 31, 63, 63, 63]);
        assert_eq!(rests(&|| io::Error::other("broken packing")), [100; 9], "it must change first");
        assert_eq!(rests(&|| io::Error::other(disk()))[..3], [0, 1, 3], "beneath other words");
        assert!(!problems.is_empty());
    }
}
