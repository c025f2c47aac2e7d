use std::{
    collections::{BTreeMap, HashSet},
    io::{self, Read, Write},
    path::PathBuf,
};

use crate::{
    files::{
        Disk, How,
        simulated::{Chance, Simulated},
    },
    layout::Layout,
};

use super::report::Report;

/// Whom a line comes from, and what was done to make it durable.
#[derive(Clone, Debug)]
pub struct Line {
    pub text: String,
    /// How often it was written.
    pub times: usize,
    /// The call from which on its producer had it synced, its name too.
    pub safe_from: Option<u64>,
    /// The call from which on its file was deleted, or a copy of it made.
    pub gone_from: Option<u64>,
    /// The most files that it lay in when a program was started: where a power cut leaves a file beside its copy, both are
    /// new, or one of them is no copy to the letter any more.
    pub files: usize,
}

/// A stream file as its producer knows it.
#[derive(Clone, Debug)]
struct Held {
    path: PathBuf,
    /// By index.
    lines: Vec<usize>,
    /// The beginning of a line that is not finished, and its line.
    torn: Option<(String, String)>,
    /// The program has looked since it was made, or rotated: nobody deletes a copy the moment it is made.
    looked: bool,
}

/// Producers and whoever rotates their files.
pub struct World {
    pub layout: Layout,
    disk: Simulated,
    pub lines: Vec<Line>,
    open: BTreeMap<&'static str, Held>,
    rotated: Vec<(&'static str, Held)>,
    /// Copies in the making: of which stream, and where.
    copies: BTreeMap<&'static str, PathBuf>,
    /// No program runs.
    pub alone: bool,
    number: u64,
    pub now: i64,
    runs: u64,
}

const STREAMS: [&str; 3] = ["runs", "alpha", "pnl"];
pub const AGENTS: [&str; 4] = ["ada", "bob", "cyd", "dee"];

impl World {
    pub fn new(disk: Simulated, layout: Layout, now: i64) -> World {
        World {
            layout,
            disk,
            lines: Vec::new(),
            open: BTreeMap::new(),
            rotated: Vec::new(),
            copies: BTreeMap::new(),
            alone: false,
            number: 0,
            now,
            runs: 0,
        }
    }

    /// The same world with another disk under it: after a power cut. Producers begin anew with whatever is there.
    pub fn on(&mut self, disk: Simulated, layout: Layout) {
        let files = streams(&disk);
        self.lines.iter_mut().for_each(|line| line.files = line.files.max(files_with(&files, line)));
        (self.disk, self.layout) = (disk, layout);
        self.open.clear();
        self.rotated.clear();
        self.copies.clear();
    }

    /// The program has seen what is there.
    pub fn looked(&mut self) {
        let rotated = self.rotated.iter_mut().map(|(_, held)| held);
        rotated.chain(self.open.values_mut()).for_each(|held| held.looked = true);
    }

    fn text(&mut self, chance: &mut Chance, stream: &str, report: &mut Report) -> String {
        self.number += 1;
        let (n, ts) = (self.number, self.now as f64 / 1e9);
        let agent = AGENTS[chance.below(4) as usize];
        if chance.one_in(12) {
            report.count("lines malformed");
            return format!("{{\"n\":{n},\"agent\":");
        }
        let id = if chance.one_in(6) { format!(",\"event_id\":\"e{n}\"") } else { String::new() };
        match stream {
            "alpha" => {
                format!(
                    "{{\"n\":{n},\"ts\":{ts},\"run_id\":\"r{}\",\"agent\":\"{agent}\",\"direction\":\"LONG\",\"score_final\":0.5{id}}}",
                    self.runs
                )
            }
            "pnl" => {
                let (run, pnl) = (chance.below(self.runs + 1), chance.below(400) as f64 / 2.0 - 90.0);
                format!("{{\"n\":{n},\"ts\":{ts},\"run_id\":\"r{run}\",\"realized_pnl_bps\":{pnl}{id}}}")
            }
            _ => {
                self.runs += 1;
                let (run, reward) = (self.runs, chance.below(300) as f64 / 100.0 - 1.8);
                let cost = chance.below(50) as f64 / 1000.0;
                let errors = u64::from(chance.one_in(15));
                format!(
                    "{{\"n\":{n},\"ts\":{ts},\"run_id\":\"r{run}\",\"agent\":\"{agent}\",\"latency_ms\":{},\"cost_usd\":{cost},\"errors\":{errors},\"reward\":{reward}{id}}}",
                    100 + chance.below(900)
                )
            }
        }
    }

    /// A producer writes: some lines, perhaps the half of one.
    pub fn produce(&mut self, chance: &mut Chance, report: &mut Report) -> io::Result<()> {
        let stream = STREAMS[chance.below(3) as usize];
        let (mut out, mut done) = (String::new(), Vec::new());
        let before = self.open.get_mut(stream).and_then(|held| held.torn.take());
        if let Some((half, text)) = before {
            out.push_str(&text[half.len()..]);
            out.push('\n');
            done.push(text);
        }
        for _ in 0..1 + chance.below(4) {
            let again = done.last().filter(|text| text.contains("event_id")).cloned();
            let text = match again {
                Some(text) if chance.one_in(3) => {
                    report.count("lines repeated");
                    text
                }
                _ => self.text(chance, stream, report),
            };
            out.push_str(&text);
            out.push('\n');
            done.push(text);
        }
        let torn = chance.one_in(6).then(|| {
            report.count("lines torn");
            let text = self.text(chance, stream, report);
            (text[..1 + chance.below(text.len() as u64 - 1) as usize].to_owned(), text)
        });
        out.push_str(torn.as_ref().map_or("", |(half, _)| half));
        let path = self.layout.stream(stream);
        self.write(&path, out.as_bytes())?;
        let indices: Vec<usize> = done.into_iter().map(|text| self.wrote(text, report)).collect();
        let held =
            self.open.entry(stream).or_insert_with(|| Held { path, lines: Vec::new(), torn: None, looked: false });
        held.lines.extend(indices);
        held.torn = torn;
        Ok(())
    }

    fn write(&self, path: &std::path::Path, bytes: &[u8]) -> io::Result<()> {
        let file = self.disk.open(path, How::AppendOrMake)?;
        // A file whose last line a power cut tore, or zeroed, is gone on with behind a newline.
        let len = file.about()?.len;
        let mut last = [b'\n'];
        if len > 0 && !self.open.values().any(|held| held.path == *path) {
            file.read_at(&mut last, len - 1)?;
        }
        if last != *b"\n" {
            file.append(b"\n")?;
        }
        file.append(bytes).map(drop)
    }

    fn wrote(&mut self, text: String, report: &mut Report) -> usize {
        report.count("lines written");
        if let Some(index) = self.lines.iter().rposition(|line| line.text == text) {
            self.lines[index].times += 1;
            return index;
        }
        self.lines.push(Line { text, times: 1, safe_from: None, gone_from: None, files: 1 });
        self.lines.len() - 1
    }

    /// A producer makes sure of what it wrote.
    pub fn sync(&mut self, chance: &mut Chance, report: &mut Report) -> io::Result<()> {
        let stream = STREAMS[chance.below(3) as usize];
        let Some(held) = self.open.get(stream) else { return Ok(()) };
        self.disk.open(&held.path, How::Read)?.sync_all()?;
        self.disk.sync_dir(&self.layout.dir)?;
        if self.disk.is_durable(&held.path) {
            report.count("producer synced");
            let call = self.disk.image().number;
            for index in held.lines.clone() {
                self.lines[index].safe_from.get_or_insert(call);
            }
        }
        Ok(())
    }

    pub fn rotate(&mut self, chance: &mut Chance, report: &mut Report) -> io::Result<()> {
        let stream = STREAMS[chance.below(3) as usize];
        match chance.below(8) {
            // Whoever rotates a file waits until the copy that he began is done.
            0 | 1 if self.copies.contains_key(stream) => self.copy_and_truncate(stream, report),
            0 | 1 => self.rename(stream, report),
            2..=4 if self.copies.contains_key(stream) => self.copy_and_truncate(stream, report),
            2..=4 => self.begin_copy(stream, chance, report),
            5 => self.late(chance, report),
            6 => self.delete(report),
            _ => self.pack(report),
        }
    }

    fn aside(&mut self, stream: &str) -> PathBuf {
        self.number += 1;
        self.layout.dir.join(format!("{stream}.jsonl-{}", 20_260_000 + self.number))
    }

    fn rename(&mut self, stream: &'static str, report: &mut Report) -> io::Result<()> {
        let aside = self.aside(stream);
        let Some(mut held) = self.open.remove(stream) else { return Ok(()) };
        self.disk.rename(&held.path, &aside)?;
        (held.path, held.looked) = (aside, false);
        report.count("rotated by rename");
        self.rotated.push((stream, held));
        Ok(())
    }

    /// A copy is there before anything is in it, and grows. Not so where the program never met the original: which of two
    /// files that begin alike is the copy, nobody can tell who sees both for the first time, or one of them again after a
    /// power cut.
    fn begin_copy(&mut self, stream: &'static str, chance: &mut Chance, report: &mut Report) -> io::Result<()> {
        let aside = self.aside(stream);
        let Some(held) = self.open.get(stream).filter(|held| held.torn.is_none()) else { return Ok(()) };
        let (bytes, looked) = (self.layout.files.read(&held.path)?, held.looked);
        if self.alone && !looked {
            return Ok(());
        }
        let copy = self.disk.open(&aside, How::Anew)?;
        self.copies.insert(stream, aside);
        if !looked || chance.one_in(3) {
            return self.copy_and_truncate(stream, report);
        }
        report.count("copy in the making");
        let part = chance.below(bytes.len() as u64 + 1) as usize;
        if part > 0 && chance.one_in(2) {
            copy.append(&bytes[..part])?;
        }
        Ok(())
    }

    /// As careful tools do it: the copy is durable before the original is emptied.
    fn copy_and_truncate(&mut self, stream: &'static str, report: &mut Report) -> io::Result<()> {
        let Some(held) = self.open.get_mut(stream).filter(|held| held.torn.is_none()) else { return Ok(()) };
        let Some(aside) = self.copies.remove(stream) else { return Ok(()) };
        let file = self.disk.open(&held.path, How::Append)?;
        let mut bytes = vec![0; file.about()?.len as usize];
        file.read_at(&mut bytes, 0)?;
        let copy = self.disk.open(&aside, How::Append)?;
        copy.append(&bytes[copy.about()?.len as usize..])?;
        copy.sync_all()?;
        self.disk.sync_dir(&self.layout.dir)?;
        file.set_len(0)?;
        let lines = std::mem::take(&mut held.lines);
        report.count("rotated by copy and truncation");
        self.rotated.push((stream, Held { path: aside, lines, torn: None, looked: false }));
        Ok(())
    }

    /// Somebody still has a rotated file open.
    fn late(&mut self, chance: &mut Chance, report: &mut Report) -> io::Result<()> {
        let Some(at) = (!self.rotated.is_empty()).then(|| chance.below(self.rotated.len() as u64) as usize) else {
            return Ok(());
        };
        let (stream, mut held) = self.rotated[at].clone();
        let (half, text) = held.torn.take().unwrap_or_else(|| (String::new(), self.text(chance, stream, report)));
        self.disk.open(&held.path, How::Append)?.append(format!("{}\n", &text[half.len()..]).as_bytes())?;
        report.count("late write to a rotated file");
        held.lines.push(self.wrote(text, report));
        self.rotated[at].1 = held;
        Ok(())
    }

    fn delete(&mut self, report: &mut Report) -> io::Result<()> {
        let Some(at) = self.rotated.iter().position(|(_, held)| held.looked) else { return Ok(()) };
        let (_, held) = self.rotated.remove(at);
        let file = self.disk.open(&held.path, How::Read)?;
        let mut bytes = vec![0; file.about()?.len as usize];
        file.read_at(&mut bytes, 0)?;
        let call = self.disk.image().number;
        for line in self.lines.iter_mut().filter(|line| holds(&bytes, &line.text)) {
            line.gone_from.get_or_insert(call);
        }
        report.count("rotated file deleted");
        self.disk.remove(&held.path)
    }

    fn pack(&mut self, report: &mut Report) -> io::Result<()> {
        let Some(at) = self.rotated.iter().rposition(|(_, held)| held.looked) else { return Ok(()) };
        let (_, held) = self.rotated.remove(at);
        let file = self.disk.open(&held.path, How::Read)?;
        let mut bytes = vec![0; file.about()?.len as usize];
        file.read_at(&mut bytes, 0)?;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&bytes)?;
        let mut path = held.path.clone().into_os_string();
        path.push(".gz");
        let file = self.disk.open(&PathBuf::from(path), How::Anew)?;
        file.append(&packed.finish()?)?;
        file.sync_all()?;
        self.disk.sync_dir(&self.layout.dir)?;
        report.count("rotated file packed");
        self.disk.remove(&held.path)
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

/// In how many files a line lies.
pub fn files_with(files: &[Vec<u8>], line: &Line) -> usize {
    files.iter().filter(|file| holds(file, &line.text)).count()
}

/// What lies in the files of streams on a disk, unpacked as far as it can be.
pub fn streams(disk: &Simulated) -> Vec<Vec<u8>> {
    let layout = super::life::layout(disk);
    let paths = disk.list(&layout.dir).unwrap_or_default();
    let mut seen = HashSet::new();
    let files = paths.into_iter().filter_map(|path| {
        let new = seen.insert(layout.files.about(&path).ok()?.id.inode());
        let bytes = layout.files.read(&path).ok().filter(|_| new)?;
        if path.extension().is_none_or(|extension| extension != "gz") {
            return Some(bytes);
        }
        let mut unpacked = Vec::new();
        // What cannot be unpacked is not read.
        let _ = flate2::read::MultiGzDecoder::new(&*bytes).read_to_end(&mut unpacked);
        Some(unpacked)
    });
    files.collect()
}
