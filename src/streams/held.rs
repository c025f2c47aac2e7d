use std::collections::HashMap;

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
}

/// A file that keeps still for so many looks is not in the making any more.
const STILL: u32 = 20;

/// The files held back, by inode. A look at one costs nothing until it changes, and while it changes it is not read
/// again and again from its start.
#[derive(Debug, Default)]
pub struct HeldFiles(HashMap<Inode, Held>);

impl HeldFiles {
    /// Holds a file back after it was read in vain.
    pub fn hold(&mut self, file: &Found, why: Option<String>, part_of: Option<usize>) {
        let look = (file.len, file.modified);
        self.0.insert(file.id.inode(), Held { tried: look, last: look, still: 0, why, part_of });
    }

    /// Whether a file is to be left alone at this look; says why, where that is a problem.
    pub fn waits(&mut self, file: &Found, problems: &mut Vec<Problem>) -> bool {
        let Some(held) = self.0.get_mut(&file.id.inode()) else { return false };
        let look = (file.len, file.modified);
        held.still = if look == held.last { held.still.saturating_add(1) } else { 0 };
        held.last = look;
        let settled = held.still == 1 || file.len / 2 >= held.tried.0;
        if look != held.tried && settled {
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
}
