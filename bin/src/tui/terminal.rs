//! The terminal taken over and given back: another screen without cursor, keys without echo. It is given back on every
//! way out: at the end of the run, on an error, on a panic, on a second Ctrl-C.

use std::io::IsTerminal;
use std::sync::Mutex;

use crate::failure::Failure;

/// The alternate screen, without cursor and without line wrap.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// While the terminal is taken: its settings from before, if the keys come from it.
static TAKEN: Mutex<Option<Keys>> = Mutex::new(None);

/// Takes over the terminal that standard error is.
pub fn enter() -> Result<(), Failure> {
    if !std::io::stderr().is_terminal() {
        return Err(Failure::usage(
            "--tui draws on standard error, which is no terminal here; leave it out for plain lines",
        ));
    }
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        before(info);
    }));
    *TAKEN.lock().unwrap_or_else(|e| e.into_inner()) = Some(Keys::quiet());
    eprint!("{ENTER}");
    Ok(())
}

/// Gives the terminal back, if it was taken.
pub fn restore() {
    if let Some(keys) = TAKEN.lock().unwrap_or_else(|e| e.into_inner()).take() {
        eprint!("{LEAVE}");
        keys.restore();
    }
}

/// Columns and rows.
pub fn size() -> (usize, usize) {
    let size = terminal_size::terminal_size_of(std::io::stderr());
    size.map_or((80, 24), |(width, height)| (usize::from(width.0).max(1), usize::from(height.0).max(1)))
}

/// Shows lines from the top, in one write, so that nothing flickers.
pub fn show(lines: &[String]) {
    let mut text = String::from("\x1b[H");
    text.push_str(&lines.iter().map(|line| format!("{line}\x1b[K")).collect::<Vec<_>>().join("\r\n"));
    text.push_str("\x1b[J");
    // Held while drawing: nothing is drawn once the terminal is given back.
    if TAKEN.lock().unwrap_or_else(|e| e.into_inner()).is_some() {
        eprint!("{text}");
    }
}

/// What the keys did before. Signals stay (Ctrl-C), but for those that would leave the shell on this screen: Ctrl-Z and
/// Ctrl-\.
#[cfg(unix)]
struct Keys(Option<rustix::termios::Termios>);

#[cfg(unix)]
impl Keys {
    fn quiet() -> Keys {
        use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
        let input = std::io::stdin();
        let Ok(before) = tcgetattr(&input) else { return Keys(None) };
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
        quiet.special_codes[SpecialCodeIndex::VSUSP] = 0;
        quiet.special_codes[SpecialCodeIndex::VQUIT] = 0;
        let _ = tcsetattr(&input, OptionalActions::Now, &quiet);
        Keys(Some(before))
    }

    fn restore(self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        if let Some(before) = self.0 {
            // What was typed meanwhile was not meant for the shell.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &before);
        }
    }
}

#[cfg(not(unix))]
struct Keys;

#[cfg(not(unix))]
impl Keys {
    fn quiet() -> Keys {
        Keys
    }

    fn restore(self) {}
}
