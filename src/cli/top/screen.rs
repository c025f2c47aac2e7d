use std::{
    io::{self, Stdout},
    mem::ManuallyDrop,
    panic,
    sync::Once,
};

use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor, execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};

/// The terminal while it is ours; given back as it was when dropped, also by a panic on any thread.
pub struct Screen {
    /// Never dropped: it would show the cursor as we do, and tell on standard error when the terminal is gone, which is a
    /// panic where standard error is that terminal.
    pub terminal: ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>,
}

impl Screen {
    /// # Errors
    /// It is no terminal that can be drawn on.
    pub fn open() -> io::Result<Screen> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let tell = panic::take_hook();
            panic::set_hook(Box::new(move |what| {
                // What is told must not vanish with the screen it is told on.
                restore();
                tell(what);
            }));
        });
        enable_raw_mode()?;
        let entered = execute!(io::stdout(), EnterAlternateScreen, cursor::Hide);
        let opened = entered.and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        opened.map(|terminal| Screen { terminal: ManuallyDrop::new(terminal) }).inspect_err(|_| restore())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// There is nobody to tell when this fails: the terminal is gone.
fn restore() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
}
