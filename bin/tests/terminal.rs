//! `comhe train --tui` on a real pseudo-terminal, by `script` of util-linux: however it ends, the shell gets its terminal
//! back, and what went wrong can be read.
#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

/// What a terminal shows of some lines of shell, where `$COMHE` is the command. As soon as that has taken the terminal, `act`
/// is called with what is shown by then and the keyboard.
fn on_a_terminal(folder: &Path, lines: &str, act: impl FnOnce(&str, &mut ChildStdin)) -> String {
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command", lines, "/dev/null"])
        .env("COMHE", env!("CARGO_BIN_EXE_comhe"))
        .env("SHELL", "/bin/sh")
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of util-linux, makes a terminal");
    let (mut keys, mut screen) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let (mut shown, mut act, mut buffer) = (String::new(), Some(act), [0; 4096]);
    loop {
        match screen.read(&mut buffer).unwrap() {
            0 => break,
            n => shown += &String::from_utf8_lossy(&buffer[..n]),
        }
        if shown.contains(ENTER)
            && let Some(act) = act.take()
        {
            act(&shown, &mut keys);
        }
    }
    script.wait().unwrap();
    shown
}

/// Sends SIGTERM to the process whose id is shown as "pid N".
fn terminate(shown: &str) {
    let pid = shown.lines().find_map(|line| line.trim().strip_prefix("pid ")).expect("an id");
    assert!(Command::new("kill").args(["-s", "TERM", pid]).status().unwrap().success());
}

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";
const LONG: &str =
    "exec $COMHE train --tui --dataset moons --model mlp --steps 100000000 --checkpoint-every 100000000";

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
    // The shell hears of Ctrl-C, too.
    let lines = |out: &str| {
        format!(
            "stty rows 40 cols 120; trap : INT; sh -c 'echo pid $$; {LONG} --out {out}'; echo code $?; stty -a"
        )
    };
    let stopped = |shown: &str| {
        given_back(shown, "code 1");
        assert!(shown.contains("resume it with: comhe train --resume"), "{shown:?}");
    };
    stopped(&on_a_terminal(here.path(), &lines("term"), |shown, _| terminate(shown)));
    stopped(&on_a_terminal(here.path(), &lines("int"), |_, keys| keys.write_all(b"\x03").unwrap()));
    // Ctrl-Z and Ctrl-\ do nothing: they would leave the shell on this screen.
    stopped(&on_a_terminal(here.path(), &lines("z"), |shown, keys| {
        keys.write_all(b"\x1a\x1c").unwrap();
        std::thread::sleep(Duration::from_millis(500));
        terminate(shown);
    }));
    // An error in the middle of the run: the loss is no number.
    let lines = "stty rows 40 cols 120; $COMHE train --tui --dataset moons --model mlp --lr 1e30 --steps 50 --out n; echo code $?; stty -a";
    let shown = on_a_terminal(here.path(), lines, |_, _| ());
    given_back(&shown, "code 1");
    assert!(shown.contains("not finite") || shown.contains("no longer finite"), "{shown:?}");
    // No room for a checkpoint.
    let lines = "stty rows 40 cols 120; trap '' XFSZ; (ulimit -f 100; exec $COMHE train --tui --dataset moons --model mlp --steps 60 --out full); echo code $?; stty -a";
    let shown = on_a_terminal(here.path(), lines, |_, _| ());
    given_back(&shown, "code 1");
    assert!(shown.contains("cannot be written: File too large"), "{shown:?}");
    // The end of a run that went well.
    let lines = "stty rows 40 cols 120; $COMHE train --tui --dataset moons --model mlp --steps 20 --out good; echo code $?; stty -a";
    given_back(&on_a_terminal(here.path(), lines, |_, _| ()), "code 0");
}
