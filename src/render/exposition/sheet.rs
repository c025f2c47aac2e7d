use std::{collections::BTreeSet, hint::black_box, mem, sync::Arc};

use super::{
    Format, Head,
    block::Ends,
    names_taken,
    sample::Scratch,
    section::{Section, Where},
};
use crate::{
    subject::{Subject, Subjects},
    view::{Family, Sample, Shelf, Spot, places},
};

use board::Board;
use line::LineOf;

/// The subjects of a board that changed.
mod board;
/// The lines of one family.
mod line;
#[cfg(test)]
mod tests;

/// What one consumer shows of every subject.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    pub families: &'static [Family],
    pub subjects: &'a Subjects,
    pub samples: &'a Shelf,
}

/// What is to stand in place of a sample's number, by the family's name on the page.
pub type Amend = fn(&str, &Sample) -> Option<f64>;

/// Something to be done that depends on nothing else.
pub type Task<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Who writes the lines of a page.
pub trait Writers {
    /// In how many tasks so many lines are written.
    fn tasks(&self, lines: usize) -> usize;

    /// Does all tasks, in any order, before it returns.
    fn write(&self, tasks: Vec<Task>);
}

/// One who writes all of it.
pub struct Alone;

impl Writers for Alone {
    fn tasks(&self, _: usize) -> usize {
        1
    }

    fn write(&self, tasks: Vec<Task>) {
        tasks.into_iter().for_each(|task| task());
    }
}

/// The page of the fleet in one format, kept from scrape to scrape: only the lines of subjects that changed are written.
pub struct Sheet {
    format: Format,
    amend: Option<Amend>,
    parts: Vec<Part>,
    /// Subjects of which nothing is to be shown, with the part that says so.
    hidden: BTreeSet<(Subject, usize)>,
    pens: Vec<Pen>,
}

/// The families of one consumer.
struct Part {
    families: &'static [Family],
    seen: Shelf,
    /// By family, agents before strategies.
    pages: Vec<Text>,
}

/// What one who writes uses again and again.
#[derive(Default)]
struct Pen {
    scratch: Scratch,
    lines: Vec<u8>,
}

/// Families of one consumer that are written in one task: those from number `first` on, of the subjects that changed.
struct Share<'a> {
    shown: Shown<'a>,
    spots: &'a [(Spot, u64)],
    pages: &'a mut [Text],
    first: usize,
}

impl Share<'_> {
    fn write(&mut self, (spot, mask): (Spot, u64), pen: &mut Pen, of_all: OfAll) {
        let Pen { scratch, lines } = pen;
        let OfAll { format, amend, hidden } = of_all;
        let hides = |subject| hidden.range((subject, 0)..=(subject, usize::MAX)).next().is_some();
        let board = Board::new(&self.shown, spot, mask, hides);
        let kind = if spot.kind == FLEET { 0 } else { spot.kind };
        // What only the page of agents is amended for.
        let amend = amend.filter(|_| kind == 0);
        // Not to be left out as useless: that it is looked at is all that is wanted.
        black_box(self.glance(kind, spot, mask));
        for (page, family) in self.pages.iter_mut().skip(kind).step_by(KINDS.len()).zip(self.first..) {
            page.update(spot, mask, lines, |line, turn, out| {
                for sample in board.samples(turn, family) {
                    line.write(sample, board.series(turn), amend, format, scratch, out);
                }
            });
        }
    }

    /// Looks at the lines of a board that are about to be patched, those of all families at once: memory is asked for all of
    /// them before the first is waited for.
    fn glance(&self, kind: usize, spot: Spot, mask: u64) -> u8 {
        if spot.kind == FLEET {
            return 0;
        }
        let pages = self.pages.iter().skip(kind).step_by(KINDS.len());
        pages.filter_map(|page| page.glance(spot.board, mask)).fold(0, |seen, byte| seen ^ byte)
    }
}

/// What holds for every line of a page.
#[derive(Clone, Copy)]
struct OfAll<'a> {
    format: Format,
    amend: Option<Amend>,
    hidden: &'a BTreeSet<(Subject, usize)>,
}

fn write_shares(shares: Vec<Share>, pen: &mut Pen, of_all: OfAll) {
    for mut share in shares {
        for changed in share.spots {
            share.write(*changed, pen, of_all);
        }
    }
}

/// One family of one kind of subject.
struct Text {
    line: LineOf,
    section: Arc<Section>,
    boards: Vec<Ends>,
    /// The fleet's own samples, which have no label of a subject; beside those of the agents.
    fleet: Ends,
}

impl Text {
    fn glance(&self, board: usize, mask: u64) -> Option<u8> {
        self.boards.get(board).map(|ends| self.section.byte(board, ends.first(mask)))
    }

    /// Replaces the lines of the subjects in `mask`; `write` appends those of one, by its turn among them.
    fn update(
        &mut self,
        spot: Spot,
        mask: u64,
        scratch: &mut Vec<u8>,
        mut write: impl FnMut(&LineOf, usize, &mut Vec<u8>),
    ) {
        let Text { line, section, boards, fleet } = self;
        let (place, ends) = if spot.kind == FLEET {
            (Where::Fleet, fleet)
        } else {
            if boards.len() <= spot.board {
                boards.resize_with(spot.board + 1, Ends::default);
            }
            (Where::Board(spot.board), &mut boards[spot.board])
        };
        // What is being sent stays as it is.
        let section = Arc::make_mut(section);
        section.change(place, |text| ends.update(text, mask, scratch, |turn, out| write(line, turn, out)));
    }
}

/// The kinds of subjects that have a family of their own.
pub const KINDS: [&str; 2] = ["agent", "strategy"];

/// The place of the fleet among the kinds of a shelf.
const FLEET: usize = 2;

impl Sheet {
    pub fn new(format: Format) -> Sheet {
        Sheet { format, amend: None, parts: Vec::new(), hidden: BTreeSet::new(), pens: Vec::new() }
    }

    /// Brings the page to what is shown now. `amend` is asked for every number while it is given.
    pub fn update(&mut self, shown: &[Shown], amend: Option<Amend>, writers: &dyn Writers) {
        let same = |(part, now): (&Part, &Shown)| std::ptr::eq(part.families, now.families);
        if self.parts.len() != shown.len()
            || !self.parts.iter().zip(shown).all(same)
            || amend.is_some() != self.amend.is_some()
        {
            self.parts = parts(self.format, shown);
            self.hidden.clear();
        }
        self.amend = amend;
        let mut changed: Vec<_> =
            self.parts.iter().zip(shown).map(|(part, now)| now.samples.differences(&part.seen)).collect();
        self.hide(shown, &mut changed);
        // Should it be broken off, the page begins anew.
        let mut parts = mem::take(&mut self.parts);
        self.write(&mut parts, shown, &changed, writers);
        for (part, now) in parts.iter_mut().zip(shown) {
            part.seen = now.samples.clone();
        }
        self.parts = parts;
    }

    /// Who hides from now on, or no longer does, changed for every consumer.
    fn hide(&mut self, shown: &[Shown], changed: &mut [Vec<(Spot, u64)>]) {
        let mut turned = Vec::new();
        for (nth, spots) in changed.iter().enumerate() {
            for (spot, mask) in spots {
                for place in places(*mask) {
                    let entry = (spot.subject(place), nth);
                    let hides = shown[nth].samples.at(*spot, place).is_some_and(|samples| samples.hidden);
                    if hides == self.hidden.contains(&entry) {
                        continue;
                    }
                    turned.push((*spot, 1 << place));
                    if !self.hidden.remove(&entry) {
                        self.hidden.insert(entry);
                    }
                }
            }
        }
        for spots in changed.iter_mut().filter(|_| !turned.is_empty()) {
            spots.extend(&turned);
        }
    }

    /// Writes the lines of the subjects that changed, by consumer.
    fn write(&mut self, parts: &mut [Part], shown: &[Shown], changed: &[Vec<(Spot, u64)>], writers: &dyn Writers) {
        let Sheet { format, amend, hidden, pens, .. } = self;
        let lines = |(now, spots): (&Shown, &Vec<(Spot, u64)>)| {
            let subjects: u32 = spots.iter().map(|(_, mask)| mask.count_ones()).sum();
            now.families.len() * subjects as usize
        };
        let count = writers.tasks(shown.iter().zip(changed).map(lines).sum()).max(1);
        pens.resize_with(count, Pen::default);
        let mut shares: Vec<Vec<Share>> = (0..count).map(|_| Vec::new()).collect();
        for (part, (now, spots)) in parts.iter_mut().zip(shown.iter().zip(changed)) {
            let families = part.families.len().div_ceil(count).max(1);
            let pieces = part.pages.chunks_mut(families * KINDS.len()).enumerate();
            for (share, (nth, pages)) in shares.iter_mut().zip(pieces) {
                share.push(Share { shown: *now, spots, pages, first: nth * families });
            }
        }
        let of_all = OfAll { format: *format, amend: *amend, hidden };
        let mut tasks: Vec<Task> = Vec::with_capacity(count);
        for (shares, pen) in shares.into_iter().zip(pens) {
            tasks.push(Box::new(move || write_shares(shares, pen, of_all)));
        }
        writers.write(tasks);
    }

    /// The page, to be sent in order. Its sections stay as they are, whatever is updated later.
    pub fn sections(&self) -> Vec<Arc<Section>> {
        self.sections_of(|_, _| true)
    }

    /// The same of those families that are `wanted`: by the number of their part, as they were shown, and their name.
    pub fn sections_of(&self, wanted: impl Fn(usize, &str) -> bool) -> Vec<Arc<Section>> {
        let pages =
            self.parts.iter().enumerate().flat_map(|(part, all)| all.pages.iter().map(move |page| (part, page)));
        let shown = pages.filter(|(part, page)| page.section.has_lines() && wanted(*part, &page.line.name));
        shown.map(|(_, page)| page.section.clone()).collect()
    }
}

/// Empty pages of everything that is shown.
fn parts(format: Format, shown: &[Shown]) -> Vec<Part> {
    let named = |family: &'static Family, kind: &str| (format!("{kind}_{}", family.name), family);
    let names: Vec<Vec<_>> = shown
        .iter()
        .map(|now| now.families.iter().flat_map(|family| KINDS.map(|kind| named(family, kind))).collect())
        .collect();
    let taken = names_taken(format, names.iter().flatten().map(|(name, family)| (name.as_str(), family.kind)));
    let text = |(name, family): (String, &'static Family)| {
        let head = Head::new(format, &name, family.kind, &taken);
        let (mut text, exemplars) = (Vec::new(), head.exemplars);
        head.write(&mut text, format, family.help);
        let line = LineOf { name, family, exemplars };
        Text { line, section: Arc::new(Section::new(text)), boards: Vec::new(), fleet: Ends::default() }
    };
    let part = |(now, names): (&Shown, Vec<_>)| Part {
        families: now.families,
        seen: Shelf::default(),
        pages: names.into_iter().map(text).collect(),
    };
    shown.iter().zip(names).map(part).collect()
}
