/// Chance from a seed.
mod chance;
/// Names, and which of them a power cut leaves.
mod names;
/// Contents, and what a power cut leaves of them.
mod node;
/// The file system that programs see.
mod surface;
/// How often what went wrong.
mod tally;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use chance::Chance;
use names::{Entry, Names};
use node::Node;
pub use tally::{Kind, Tally};

/// A disk in memory. What was not synced may be lost, torn, reordered or zeroed when the power is cut; any call can be
/// made to fail; the room on it can end. Clones are the same disk.
#[derive(Clone)]
pub struct Simulated(Arc<Mutex<Inner>>);

struct Inner {
    state: State,
    /// Calls of others than the program under test: they never fail.
    outside: bool,
    images: Option<Vec<Image>>,
    witness: Option<Witness>,
    trouble: Option<Trouble>,
    /// Bytes left.
    room: Option<usize>,
    /// A sync that does nothing and says that all is well: for a test that must fail.
    lying: bool,
    tally: Tally,
    calls: u64,
    trace: blake3::Hasher,
    told: Option<Vec<String>>,
}

/// What the program had promised at some moment: its durable watermark, and how many of its answers were out.
pub type Witness = Arc<dyn Fn() -> (u64, usize) + Send + Sync>;

/// Calls that fail by chance.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub chance: Chance,
    /// Once in so many calls.
    pub one_in: u64,
    /// Calls of this kind alone, where it is given.
    pub only: Option<Kind>,
}

/// All that is on a disk.
#[derive(Clone, Debug, Default)]
struct State {
    nodes: BTreeMap<u64, Arc<Node>>,
    names: Arc<Names>,
    next: u64,
    now: i64,
}

/// A disk at the moment of a call, and what was promised by then.
#[derive(Clone)]
pub struct Image {
    state: State,
    pub call: &'static str,
    pub path: PathBuf,
    pub number: u64,
    pub durable: u64,
    pub answered: usize,
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulated")
    }
}

impl Simulated {
    /// A disk with one directory.
    pub fn new(dir: &Path) -> Simulated {
        let mut names = Names::default();
        let mut above: Vec<&Path> = dir.ancestors().collect();
        above.reverse();
        for dir in above {
            names.set(dir, Entry::Directory);
            dir.parent().into_iter().for_each(|parent| names.sync_dir(parent));
        }
        names.sync_root();
        Simulated::of(State { names: Arc::new(names), next: 100, ..State::default() }, 0)
    }

    fn of(state: State, calls: u64) -> Simulated {
        Simulated(Arc::new(Mutex::new(Inner {
            state,
            outside: false,
            images: None,
            witness: None,
            trouble: None,
            room: None,
            lying: false,
            tally: Tally::default(),
            calls,
            trace: blake3::Hasher::new(),
            told: None,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something as others than the program under test.
    pub fn outside<T>(&self, body: impl FnOnce() -> T) -> T {
        self.inner().outside = true;
        let done = body();
        self.inner().outside = false;
        done
    }

    /// From here on an image is taken at every call that changes something.
    pub fn take_images(&self, witness: Witness) {
        let mut inner = self.inner();
        inner.images.get_or_insert_default();
        inner.witness = Some(witness);
    }

    pub fn images(&self) -> Vec<Image> {
        self.inner().images.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The disk as it is now, should the power be cut.
    pub fn image(&self) -> Image {
        let inner = self.inner();
        inner.image("nothing", Path::new(""))
    }

    pub fn trouble(&self, trouble: Option<Trouble>) {
        self.inner().trouble = trouble;
    }

    pub fn room(&self, bytes: Option<usize>) {
        self.inner().room = bytes;
    }

    pub fn lie(&self) {
        self.inner().lying = true;
    }

    pub fn set_now(&self, now: i64) {
        self.inner().state.now = now;
    }

    pub fn tell(&self) {
        self.inner().told = Some(Vec::new());
    }

    pub fn told(&self) -> Vec<String> {
        self.inner().told.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub fn tally(&self) -> Tally {
        self.inner().tally.clone()
    }

    pub fn trace(&self) -> blake3::Hash {
        self.inner().trace.finalize()
    }

    /// Every name and its file, for people who look for a fault.
    pub fn shown(&self) -> Vec<String> {
        let inner = self.inner();
        let files = inner.state.names.seen.iter().filter_map(|(path, entry)| match entry {
            Entry::Directory => None,
            Entry::File(ino) => Some((path, ino, inner.state.nodes.get(&ino)?)),
        });
        files
            .map(|(path, ino, node)| {
                let synced = if inner.state.names.is_durable(path) { "" } else { ", name not synced" };
                format!("{} (inode {ino}{synced}): {}", path.display(), node.shown())
            })
            .collect()
    }

    /// Whether every byte and the name of a file are durable.
    pub fn is_durable(&self, path: &Path) -> bool {
        let inner = self.inner();
        let Some(Entry::File(ino)) = inner.state.names.seen.get(path) else { return false };
        inner.state.names.is_durable(path) && inner.state.nodes.get(&ino).is_some_and(|node| node.is_synced())
    }
}

impl Image {
    /// What is there after the power was cut at this moment.
    pub fn settle(&self, chance: &mut Chance, tally: &mut Tally) -> Simulated {
        let names = self.state.names.settle(chance, tally);
        let mut nodes = BTreeMap::new();
        for (_, entry) in names.seen.iter() {
            if let Entry::File(ino) = entry
                && !nodes.contains_key(&ino)
                && let Some(node) = self.state.nodes.get(&ino)
            {
                nodes.insert(ino, Arc::new(node.settle(chance, tally)));
            }
        }
        let state = State { nodes, names: Arc::new(names), next: self.state.next, now: self.state.now };
        Simulated::of(state, self.number)
    }

    /// The same after the program alone died: the kernel has everything.
    pub fn survive(&self) -> Simulated {
        Simulated::of(self.state.clone(), self.number)
    }
}

impl Inner {
    fn image(&self, call: &'static str, path: &Path) -> Image {
        let (durable, answered) = self.witness.as_ref().map_or((0, 0), |witness| witness());
        Image { state: self.state.clone(), call, path: path.to_owned(), number: self.calls, durable, answered }
    }

    /// Whether the next call of a kind fails, and how it is counted.
    fn fails(&mut self, kind: Kind) -> bool {
        if self.outside {
            return false;
        }
        let trouble = self.trouble.as_mut().filter(|trouble| trouble.only.is_none_or(|only| only == kind));
        let fails = trouble.is_some_and(|trouble| trouble.chance.one_in(trouble.one_in));
        if fails {
            self.tally.add(kind);
        }
        fails
    }

    /// Notes a call, and what a power cut finds after it.
    fn note<T>(&mut self, call: &'static str, path: &Path, done: io::Result<T>, changes: bool) -> io::Result<T> {
        self.calls += 1;
        if changes || done.is_err() {
            let line = match &done {
                Ok(_) => format!("{} {call} {}", self.calls, path.display()),
                Err(error) => format!("{} {call} {}: {error}", self.calls, path.display()),
            };
            self.trace.update(line.as_bytes());
            if let Some(told) = &mut self.told {
                told.push(line);
            }
        }
        if changes {
            self.state.now += 1000;
            if self.images.is_some() {
                let image = self.image(call, path);
                self.images.get_or_insert_default().push(image);
            }
        }
        done
    }
}
