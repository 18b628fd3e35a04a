//! `comhe train --tui` on a real pseudo-terminal, by `script` of util-linux: however it ends, the shell gets its terminal
//! back, and what went wrong can be read.
#![cfg(target_os = "linux")]

use std::process::{Command, Stdio};

/// What a terminal shows of some lines of shell, where `$COMHE` is the command.
fn on_a_terminal(folder: &std::path::Path, lines: &str) -> String {
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", lines, "/dev/null"])
        .env("COMHE", env!("CARGO_BIN_EXE_comhe"))
        .env("SHELL", "/bin/sh")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("script, of util-linux, makes a terminal");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";
const LONG: &str = "$COMHE train --tui --dataset moons --model mlp --steps 100000000 --checkpoint-every 100000000";

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
    for (signal, code) in [("TERM", 1), ("INT", 1)] {
        // The signal comes from outside, as the terminal's own would: to the command alone.
        let lines = format!(
            "stty rows 40 cols 120; {LONG} --out {signal} & sleep 1; kill -{signal} $!; wait $!; echo code $?; stty -a"
        );
        // A background job of a shell without job control ignores SIGINT; the command's handler does not.
        let shown = on_a_terminal(here.path(), &lines);
        given_back(&shown, &format!("code {code}"));
        assert!(shown.contains("go on with: comhe train --resume"), "{shown:?}");
    }
    // An error in the middle of the run: the loss is no number.
    let lines = "stty rows 40 cols 120; $COMHE train --tui --dataset moons --model mlp --lr 1e30 --steps 50 --out n; echo code $?; stty -a";
    let shown = on_a_terminal(here.path(), lines);
    given_back(&shown, "code 1");
    assert!(shown.contains("not finite") || shown.contains("no longer finite"), "{shown:?}");
    // The end of a run that went well.
    let lines = "stty rows 40 cols 120; $COMHE train --tui --dataset moons --model mlp --steps 20 --out good; echo code $?; stty -a";
    given_back(&on_a_terminal(here.path(), lines), "code 0");
}
