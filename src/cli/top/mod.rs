//! The fleet, live on a terminal: a state that events change, a picture that follows from the state, and a source of
//! looks. Only this file knows of the terminal and of time.

/// The columns of the table, and which find room.
mod columns;
/// From the state to the picture.
mod draw;
/// What a look found.
mod fleet;
/// How the screen is divided.
mod panes;
/// The terminal, and giving it back.
mod screen;
/// From a server or a directory.
mod source;
/// Texts and charts of a width.
mod spark;
/// From events to the state.
mod state;

use std::{
    io::{self, IsTerminal},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use ratatui::crossterm::event::{self as terminal, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

pub use draw::draw;
pub use source::Source;
pub use state::{Event, Key, Then, Top};

use self::screen::Screen;
use super::{Found, Usage, desk::Way, reading};
use crate::clock::Stopwatch;

/// How long a key, a signal or news may go unnoticed.
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub struct TopCommand {
    #[command(flatten)]
    way: Way,
    /// Show only agents whose name has this in it; `/` changes it
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Seconds between two looks; a large fleet is looked at less often
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    interval: f64,
}

impl TopCommand {
    pub fn run(self) -> anyhow::Result<Found> {
        if !(self.interval >= 0.1 && self.interval <= 3600.0) {
            return Err(Usage(format!("--interval {}: want 0.1 to 3600 seconds", self.interval)).into());
        }
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() || dumb {
            return Err(Usage(
                "top draws on a terminal and reads its keys, and here is none: `runtape status` says how things stand, `runtape agents` lists everybody"
                    .to_owned(),
            )
            .into());
        }
        // What was typed wrong is told before the screen is taken.
        self.way.client()?;
        let mut top = Top::new(self.filter, reading::color(), unicode());
        let (events, inbox) = mpsc::channel();
        let (wake, woken) = mpsc::channel();
        let source = Source::new(self.way, Duration::from_secs_f64(self.interval));
        thread::Builder::new()
            .name("look".to_owned())
            .spawn(move || source.keep_looking(&woken, &events))
            .context("cannot start a thread")?;
        match show(&mut top, &inbox, &wake) {
            // A terminal that goes while it is drawn on or read from is left as any other that is gone.
            Err(_) if hung_up(Duration::ZERO).unwrap_or(true) => {}
            shown => shown?,
        }
        Ok(Found::Nothing)
    }
}

/// Whether the terminal is said to show UTF-8.
fn unicode() -> bool {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    // The first one that is set decides, as in the C library.
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Until somebody wants to leave.
fn show(top: &mut Top, inbox: &Receiver<Event>, wake: &Sender<Option<String>>) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Registered first: the second one ends the program wherever it is.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.clone())
            .context("cannot listen to signals")?;
        signal_hook::flag::register(signal, stop.clone()).context("cannot listen to signals")?;
    }
    let mut screen = Screen::open().context("cannot draw on this terminal")?;
    let (mut fresh, mut age) = (Stopwatch::start(), 0);
    let size = screen.terminal.size()?;
    let mut news = vec![Event::Size(size.width, size.height)];
    while !stop.load(Ordering::Acquire) {
        news.extend(inbox.try_iter());
        if news.iter().any(|event| matches!(event, Event::Looked(..) | Event::Unchanged)) {
            (fresh, age) = (Stopwatch::start(), 0);
        }
        let now = fresh.elapsed().as_secs();
        if now != age {
            age = now;
            news.push(Event::Age(now));
        }
        let changed = !news.is_empty();
        for event in news.drain(..) {
            match top.update(event) {
                Then::Go => {}
                // Whoever looks is gone only after a panic, and that was told.
                Then::Look => wake.send(top.about().map(str::to_owned)).context("nobody looks any more")?,
                Then::Quit => return Ok(()),
            }
        }
        if changed {
            screen.terminal.draw(|frame| draw(top, frame))?;
        }
        if hung_up(TICK)? {
            return Ok(());
        }
        if terminal::poll(Duration::ZERO)? {
            news.extend(event(&terminal::read()?));
        }
    }
    Ok(())
}

/// Waits for a key; whether the terminal is gone instead. Whoever read from it then would get nothing, again and again.
fn hung_up(wait: Duration) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
    let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
    match rustix::event::poll(&mut ready, Some(&wait)) {
        Ok(_) => Ok(ready[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn event(event: &terminal::Event) -> Option<Event> {
    match event {
        terminal::Event::Resize(width, height) => Some(Event::Size(*width, *height)),
        terminal::Event::Key(key) if key.kind != KeyEventKind::Release => pressed(*key).map(Event::Key),
        _ => None,
    }
}

fn pressed(key: KeyEvent) -> Option<Key> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if control => Key::Interrupt,
        KeyCode::Char(_) if control => return None,
        KeyCode::Char(character) => Key::Char(character),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Tab => Key::Tab,
        _ => return None,
    })
}
