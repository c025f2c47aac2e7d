use std::sync::Arc;

/// A section of a page: one family, as blocks of lines below its head; or whatever stands on the page as it is, as a head
/// alone. Shared with whoever sends it.
#[derive(Clone, Debug, Default)]
pub struct Section {
    head: Arc<Vec<u8>>,
    /// The lines of each board of subjects.
    boards: Vec<Arc<Vec<u8>>>,
    /// Those of the fleet.
    fleet: Arc<Vec<u8>>,
    /// Bytes of all lines below the head.
    lines: usize,
}

/// Which block of a section.
#[derive(Clone, Copy, Debug)]
pub enum Where {
    Board(usize),
    Fleet,
}

impl Section {
    /// A head without lines.
    pub fn new(head: Vec<u8>) -> Section {
        Section { head: Arc::new(head), ..Section::default() }
    }

    /// Whether there are lines below its head; the family of one that has none is left out of its page.
    pub fn has_lines(&self) -> bool {
        self.lines > 0
    }

    /// Its length, bytes.
    pub fn len(&self) -> usize {
        self.head.len() + self.lines
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many blocks there are with its head, some of which may be empty.
    pub fn blocks(&self) -> usize {
        self.boards.len() + 2
    }

    /// One of its blocks, from 0, which is the head, in the order they stand on the page.
    pub fn block(&self, nth: usize) -> &[u8] {
        match nth.checked_sub(1) {
            None => &self.head,
            Some(board) => self.boards.get(board).unwrap_or(&self.fleet),
        }
    }

    /// All of it, in order.
    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.blocks()).map(|nth| self.block(nth))
    }

    /// A byte of the lines of a board, zero where there is none: to have looked at it.
    pub(super) fn byte(&self, board: usize, at: usize) -> u8 {
        self.boards.get(board).and_then(|text| text.get(at)).copied().unwrap_or_default()
    }

    /// Lets `change` have a block.
    pub(super) fn change(&mut self, place: Where, change: impl FnOnce(&mut Arc<Vec<u8>>)) {
        let text = match place {
            Where::Fleet => &mut self.fleet,
            Where::Board(board) => {
                if self.boards.len() <= board {
                    self.boards.resize_with(board + 1, Arc::default);
                }
                &mut self.boards[board]
            }
        };
        let before = text.len();
        change(text);
        self.lines = self.lines + text.len() - before;
    }
}
