use super::{
    fleet::{Fleet, Sort},
    panes::Panes,
};

/// A key, whatever terminal it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    Tab,
    /// Ctrl-C.
    Interrupt,
}

/// What happens to the screen.
#[derive(Debug)]
pub enum Event {
    Key(Key),
    Size(u16, u16),
    /// The fleet was looked at, through whom is said.
    Looked(String, Box<Fleet>),
    /// It was looked at, and is as it was.
    Unchanged,
    /// It could not be; asked again after so many seconds.
    Failed(String, u64),
    /// So many seconds passed since the last look that succeeded.
    Age(u64),
}

/// What is to be done about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Go,
    /// Look at the fleet now.
    Look,
    Quit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    Fleet,
    Agent(String),
    Help,
}

/// Which list the keys move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Focus {
    Agents,
    Decisions,
}

/// All that is on the screen. Nothing else decides what is drawn.
#[derive(Debug)]
pub struct Top {
    pub size: (u16, u16),
    /// Whether colours may be used; they never say anything alone.
    pub color: bool,
    /// Whether the terminal shows more than ASCII.
    pub unicode: bool,
    pub source: String,
    /// None until the first look.
    pub fleet: Option<Box<Fleet>>,
    /// The agents that are shown, by place in the fleet.
    pub order: Vec<usize>,
    pub sort: Sort,
    pub reversed: bool,
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    pub frozen: bool,
    pub view: View,
    pub focus: Focus,
    /// The place in the order.
    pub selected: usize,
    /// The place in the order of the first agent on the screen.
    pub first: usize,
    /// How far the decisions are scrolled back.
    pub back: usize,
    /// How far the page of an agent is scrolled down.
    pub down: usize,
    pub age: u64,
    /// Why the fleet is not seen, and in how many seconds it is tried again.
    pub failed: Option<(String, u64)>,
}

impl Top {
    pub fn new(filter: String, color: bool, unicode: bool) -> Top {
        Top {
            size: (80, 24),
            color,
            unicode,
            source: String::new(),
            fleet: None,
            order: Vec::new(),
            sort: Sort::Verdict,
            reversed: false,
            filter,
            typing: false,
            frozen: false,
            view: View::Fleet,
            focus: Focus::Agents,
            selected: 0,
            first: 0,
            back: 0,
            down: 0,
            age: 0,
            failed: None,
        }
    }

    /// Whose page is to be looked at as well.
    pub fn about(&self) -> Option<&str> {
        match &self.view {
            View::Agent(name) => Some(name),
            _ => None,
        }
    }

    pub fn update(&mut self, event: Event) -> Then {
        let then = match event {
            Event::Size(width, height) => {
                self.size = (width, height);
                Then::Go
            }
            Event::Age(seconds) => {
                self.age = seconds;
                Then::Go
            }
            Event::Failed(what, again) => {
                self.failed = Some((what, again));
                Then::Go
            }
            Event::Unchanged => {
                (self.failed, self.age) = (None, 0);
                Then::Go
            }
            Event::Looked(source, fleet) => {
                self.looked(source, fleet);
                Then::Go
            }
            Event::Key(Key::Interrupt) => Then::Quit,
            Event::Key(key) if self.typing => self.type_filter(key),
            Event::Key(key) => self.press(key),
        };
        self.settle();
        then
    }

    fn looked(&mut self, source: String, fleet: Box<Fleet>) {
        (self.failed, self.age) = (None, 0);
        if self.frozen && self.fleet.is_some() {
            return;
        }
        let shown = self.selected_name().map(str::to_owned);
        // Whoever reads old decisions goes on reading the same ones.
        if self.back > 0 {
            let last = self.fleet.as_ref().and_then(|fleet| fleet.decisions.last());
            let newer = fleet.decisions.iter().rev().take_while(|line| Some(*line) != last).count();
            self.back += newer;
        }
        self.source = source;
        self.fleet = Some(fleet);
        self.arrange(shown.as_deref());
    }

    /// The name of the agent the cursor is on.
    pub fn selected_name(&self) -> Option<&str> {
        let fleet = self.fleet.as_ref()?;
        self.order.get(self.selected).map(|row| fleet.rows[*row].name.as_str())
    }

    /// Filters and sorts anew; the cursor stays with the agent of a name.
    fn arrange(&mut self, stay: Option<&str>) {
        let Some(fleet) = &self.fleet else { return };
        let wanted = self.filter.to_lowercase();
        let fits = |name: &str| wanted.is_empty() || name.to_lowercase().contains(&wanted);
        self.order = (0..fleet.rows.len()).filter(|row| fits(&fleet.rows[*row].name)).collect();
        let turned = self.sort.begins_large() != self.reversed;
        self.order.sort_by(|a, b| self.sort.compare(&fleet.rows[*a], &fleet.rows[*b], turned));
        if let Some(place) = stay.and_then(|name| self.order.iter().position(|row| fleet.rows[*row].name == name)) {
            self.selected = place;
        }
    }

    fn arrange_anew(&mut self) -> Then {
        let shown = self.selected_name().map(str::to_owned);
        self.arrange(shown.as_deref());
        Then::Go
    }

    /// Keeps cursor and scroll within what there is.
    fn settle(&mut self) {
        let panes = Panes::of(self.size);
        let rows = usize::from(panes.agents).max(1);
        self.selected = self.selected.min(self.order.len().saturating_sub(1));
        self.first = self.first.min(self.selected).max((self.selected + 1).saturating_sub(rows));
        self.first = self.first.min(self.order.len().saturating_sub(rows));
        let decisions = self.fleet.as_ref().map_or(0, |fleet| fleet.decisions.len());
        self.back = self.back.min(decisions.saturating_sub(usize::from(panes.decisions)));
    }

    fn type_filter(&mut self, key: Key) -> Then {
        match key {
            Key::Char(character) => self.filter.push(character),
            Key::Backspace => drop(self.filter.pop()),
            Key::Enter => self.typing = false,
            Key::Escape => {
                self.filter.clear();
                self.typing = false;
            }
            Key::Up | Key::Down => {
                self.step(if key == Key::Up { -1 } else { 1 });
                return Then::Go;
            }
            _ => return Then::Go,
        }
        self.arrange_anew()
    }

    fn press(&mut self, key: Key) -> Then {
        let page = isize::from(i16::try_from(Panes::of(self.size).agents).unwrap_or(i16::MAX)).max(1);
        match (key, &self.view) {
            (Key::Char('q'), _) => return Then::Quit,
            (Key::Char('?' | 'h'), View::Fleet | View::Agent(_)) => self.view = View::Help,
            (Key::Escape | Key::Enter | Key::Backspace | Key::Char('?' | 'h'), View::Agent(_) | View::Help) => {
                (self.view, self.down) = (View::Fleet, 0);
            }
            (Key::Escape, View::Fleet) => {
                self.filter.clear();
                (self.back, self.focus) = (0, Focus::Agents);
                return self.arrange_anew();
            }
            (Key::Char(' '), _) => return Then::Look,
            (Key::Char('f'), _) => {
                self.frozen = !self.frozen;
                return if self.frozen { Then::Go } else { Then::Look };
            }
            (Key::Up | Key::Char('k'), _) => self.step(-1),
            (Key::Down | Key::Char('j'), _) => self.step(1),
            (Key::PageUp, _) => self.step(-page),
            (Key::PageDown, _) => self.step(page),
            (Key::Home | Key::Char('g'), _) => self.step(isize::MIN / 2),
            (Key::End | Key::Char('G'), _) => self.step(isize::MAX / 2),
            (_, View::Fleet) => return self.press_in_fleet(key),
            _ => {}
        }
        Then::Go
    }

    fn press_in_fleet(&mut self, key: Key) -> Then {
        match key {
            Key::Char('/') => self.typing = true,
            Key::Char('s' | '>') => self.sort_by(self.sort.next(1)),
            Key::Char('S' | '<') => self.sort_by(self.sort.next(Sort::ALL.len() - 1)),
            Key::Char('r') => {
                self.reversed = !self.reversed;
                return self.arrange_anew();
            }
            Key::Tab => {
                self.focus = if self.focus == Focus::Agents { Focus::Decisions } else { Focus::Agents };
            }
            Key::Enter => {
                if let Some(name) = self.selected_name() {
                    (self.view, self.down) = (View::Agent(name.to_owned()), 0);
                    return Then::Look;
                }
            }
            _ => {}
        }
        Then::Go
    }

    fn sort_by(&mut self, sort: Sort) {
        (self.sort, self.reversed) = (sort, false);
        // A new order is looked at from its begin.
        self.arrange(None);
        (self.selected, self.first) = (0, 0);
    }

    /// Moves what the keys move by so many lines.
    fn step(&mut self, by: isize) {
        let moved = |at: usize| at.saturating_add_signed(by);
        match (&self.view, self.focus) {
            (View::Fleet, Focus::Agents) => self.selected = moved(self.selected),
            // Down is towards the newest.
            (View::Fleet, Focus::Decisions) => self.back = self.back.saturating_add_signed(-by),
            _ => {
                let lines =
                    self.fleet.as_ref().and_then(|fleet| fleet.page.as_ref()).map_or(0, |page| page.lines.len());
                self.down = moved(self.down).min(lines.saturating_sub(1));
            }
        }
    }
}
