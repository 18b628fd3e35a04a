//! `comhe train --tui` on a real pseudo-terminal, by `script` of util-linux: however it ends, the shell gets its terminal
//! back, and what went wrong can be read.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a terminal shows of some lines of shell, where `$COMHE` is the command, when `keys` are struck after a second.
fn on_a_terminal(folder: &Path, lines: &str, keys: &str) -> String {
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command", lines, "/dev/null"])
        .env("COMHE", env!("CARGO_BIN_EXE_comhe"))
        .env("SHELL", "/bin/sh")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of util-linux, makes a terminal");
    let mut input = script.stdin.take().unwrap();
    if !keys.is_empty() {
        std::thread::sleep(Duration::from_secs(1));
        input.write_all(keys.as_bytes()).unwrap();
        input.flush().unwrap();
    }
    let output = script.wait_with_output().unwrap();
    drop(input);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";
const LONG: &str =
    "$COMHE train --tui --dataset moons --model mlp --steps 100000000 --checkpoint-every 100000000";

/// The terminal is given back once, with echo and lines, and what follows is said on the shell's own screen.
fn given_back(shown: &str, said: &str) {
    assert!(shown.contains(ENTER), "{shown:?}");
    let (_, after) = shown.rsplit_once(LEAVE).unwrap_or_else(|| panic!("it is not given back: {shown:?}"));
    assert!(after.contains(said), "{said}: {after:?}");
    assert!(!after.contains(ENTER) && after.contains("\x1b") == after.contains("\x1b[0m"), "{after:?}");
    for mode in [" echo ", " icanon ", " isig "] {
        assert!(format!("{after} ").replace(['\r', '\n', ';'], " ").contains(mode), "{mode}: {after:?}");
    }
    assert!(after.contains("susp = ^Z") && after.contains("quit = ^\\"), "{after:?}");
}

#[test]
fn signals_and_errors_give_it_back() {
    let here = tempfile::tempdir().unwrap();
    // SIGTERM from outside, and Ctrl-C on the keyboard, which reaches the shell, too.
    let begin = "stty rows 40 cols 120; trap : INT";
    let term = format!(
        "{begin}; timeout --foreground --preserve-status -s TERM 1 {LONG} --out term; echo code $?; stty -a"
    );
    let ctrl_c = format!("{begin}; {LONG} --out int; echo code $?; stty -a");
    for (lines, keys) in [(term, ""), (ctrl_c, "\x03")] {
        let shown = on_a_terminal(here.path(), &lines, keys);
        given_back(&shown, "code 1");
        assert!(shown.contains("go on with: comhe train --resume"), "{shown:?}");
    }
    // Ctrl-Z and Ctrl-\ do nothing: they would leave the shell on this screen.
    let lines = format!(
        "{begin}; timeout --foreground --preserve-status -s TERM 2 {LONG} --out z; echo code $?; stty -a"
    );
    given_back(&on_a_terminal(here.path(), &lines, "\x1a\x1c"), "code 1");
    // An error in the middle of the run: the loss is no number.
    let lines = "stty rows 40 cols 120; $COMHE train --tui --dataset moons --model mlp --lr 1e30 --steps 50 --out n; echo code $?; stty -a";
    let shown = on_a_terminal(here.path(), lines, "");
    given_back(&shown, "code 1");
    assert!(shown.contains("not finite") || shown.contains("no longer finite"), "{shown:?}");
    // No room for a checkpoint.
    let lines = "stty rows 40 cols 120; trap '' XFSZ; (ulimit -f 100; exec $COMHE train --tui --dataset moons --model mlp --steps 60 --out full); echo code $?; stty -a";
    let shown = on_a_terminal(here.path(), lines, "");
    given_back(&shown, "code 1");
    assert!(shown.contains("cannot be written: File too large"), "{shown:?}");
    // The end of a run that went well.
    let lines = "stty rows 40 cols 120; $COMHE train --tui --dataset moons --model mlp --steps 20 --out good; echo code $?; stty -a";
    given_back(&on_a_terminal(here.path(), lines, ""), "code 0");
}
