//! The screen of `runtape top`: keys in, pictures out; and the program on a terminal of its own.

use std::{path::Path, process::Command};

use ratatui::{Terminal, backend::TestBackend};
use runtape::cli::top::{Event, Key, Source, Then, Top, draw};

use crate::support::{Events, RUNTAPE, golden, repository, run, stdout};

/// The sizes that the pictures are kept of.
const SIZES: [(u16, u16); 2] = [(80, 24), (160, 50)];

/// A screen and where its looks come from.
struct Screen {
    top: Top,
    source: Source,
}

impl Screen {
    fn of(dir: &Path, size: (u16, u16)) -> Screen {
        let mut screen = Screen { top: Top::new(String::new(), true, true), source: Source::of(dir) };
        screen.top.update(Event::Size(size.0, size.1));
        screen.look();
        screen
    }

    fn look(&mut self) {
        let event = match self.source.look(self.top.about()).expect("a directory") {
            Some((_, fleet)) => Event::Looked("events".to_owned(), Box::new(fleet)),
            None => Event::Unchanged,
        };
        self.top.update(event);
    }

    /// Presses keys: a character is itself, but for `^` up, `_` down, `$` enter, `!` escape, `~` tab, `%` page down.
    fn press(&mut self, keys: &str) -> Then {
        let mut then = Then::Go;
        for key in keys.chars() {
            let key = match key {
                '^' => Key::Up,
                '_' => Key::Down,
                '$' => Key::Enter,
                '!' => Key::Escape,
                '~' => Key::Tab,
                '%' => Key::PageDown,
                other => Key::Char(other),
            };
            then = self.top.update(Event::Key(key));
            if then == Then::Look {
                self.look();
            }
        }
        then
    }

    fn picture(&self) -> String {
        let (width, height) = self.top.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a backend in memory");
        terminal.draw(|frame| draw(&self.top, frame)).expect("a backend in memory");
        let text = terminal.backend().to_string();
        // Each line stands in quotes, with a remark behind those that hold wide characters.
        let bare =
            |line: &str| line.split("\" Hidden by").next().unwrap_or_default().trim_matches('"').trim_end().to_owned();
        text.lines().map(|line| bare(line) + "\n").collect()
    }
}

#[test]
fn every_page_looks_as_it_did() {
    for (name, keys) in [
        ("fleet", ""),
        ("sorted-by-pnl", "ssss"),
        ("filtered", "/mom"),
        ("nobody", "/zzz$"),
        ("agent", "_$"),
        ("decisions", "~^^^^"),
        ("help", "?"),
    ] {
        for size in SIZES {
            let mut screen = Screen::of(&repository("events/demo"), size);
            assert_ne!(screen.press(keys), Then::Quit);
            golden(&format!("top/{name}-{}x{}.txt", size.0, size.1), &screen.picture());
        }
    }
}

#[test]
fn names_of_any_kind_stay_in_their_columns() {
    let events = Events::new();
    for (place, name) in
        ["交易机器人交易机器人交易机器人", "\u{202e}\u{200b}x", &"long-".repeat(25), "naïve 🦀"].iter().enumerate()
    {
        let name = serde_json::to_string(name).expect("JSON");
        events.append("runs", format!("{{\"agent\":{name},\"reward\":{place},\"latency_ms\":{place}}}\n"));
    }
    let mut screen = Screen::of(events.path(), (80, 24));
    golden("top/names-80x24.txt", &screen.picture());
    screen.top.unicode = false;
    screen.press("_$");
    golden("top/names-agent-ascii-80x24.txt", &screen.picture());
}

#[test]
fn a_server_that_is_gone_is_told_beside_what_was_seen_last() {
    let mut screen = Screen::of(&repository("events/demo"), (80, 24));
    screen.top.update(Event::Failed("the server http://127.0.0.1:1 does not answer".to_owned(), 4));
    screen.top.update(Event::Age(1234));
    golden("top/unseen-80x24.txt", &screen.picture());
    screen.look();
    assert!(screen.top.failed.is_none() && screen.top.age == 0, "it is seen again");
}

#[test]
fn keys_do_what_the_help_says() {
    let mut screen = Screen::of(&repository("events/demo"), (80, 24));
    let all = screen.top.order.len();
    assert!(all > 3, "{all} agents");
    screen.press("G");
    assert_eq!(screen.top.selected, all - 1);
    screen.press("g__^");
    assert_eq!(screen.top.selected, 1);
    let name = screen.top.selected_name().map(str::to_owned);
    screen.press("r");
    assert_eq!(screen.top.selected_name().map(str::to_owned), name, "the cursor stays with its agent");
    screen.press("/q");
    assert_eq!(screen.press("q"), Then::Go, "what is typed is no key");
    assert_eq!(screen.top.filter, "qq");
    screen.press("!");
    assert_eq!((screen.top.order.len(), screen.top.typing), (all, false));
    screen.press("f");
    screen.press("~^^^^");
    let back = screen.top.back;
    screen.look();
    assert!(screen.top.frozen && screen.top.back == back && back > 0);
    assert_eq!(screen.press("q"), Then::Quit);
    assert_eq!(screen.top.update(Event::Key(Key::Interrupt)), Then::Quit);
}

/// No size is too small, and no place is out of reach.
#[test]
fn every_size_is_drawn() {
    let mut screen = Screen::of(&repository("events/demo"), (80, 24));
    for width in [1, 2, 7, 20, 79, 250] {
        for height in [1, 2, 3, 5, 9, 10, 16, 70] {
            screen.top.update(Event::Size(width, height));
            for keys in ["G", "!g", "?", "!_$", "G", "!~^", "~"] {
                screen.press(keys);
                let picture = screen.picture();
                assert_eq!(picture.lines().count(), usize::from(height), "{width}x{height} {keys}");
            }
        }
    }
}

/// However it ends, the terminal is as it was before; and where that is gone, so is the program.
#[test]
fn the_terminal_is_given_back() {
    let events = Events::copy_of(&repository("events/demo"));
    for end in ["q", "interrupt", "term", "hangup"] {
        let script = repository("tests/top/terminal.py");
        let output = Command::new("python3")
            .arg(script)
            .args([end, RUNTAPE, "top", "--events", events.text()])
            .output()
            .expect("python3 starts");
        assert_eq!(stdout(&output), format!("{end} 0\n"));
    }
    assert!(!events.path().join(".runtape").exists(), "looking wrote something");
}

#[test]
fn without_a_terminal_the_way_out_is_named() {
    let output = run(&["top", "--events", repository("events/demo").to_str().expect("a UTF-8 path")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`runtape status`"), "{said}");
}
