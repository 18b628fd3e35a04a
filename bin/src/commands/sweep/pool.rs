//! Child processes side by side, within a budget of threads.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::stop;

/// A command of this program, without its `--threads`.
pub struct Task {
    pub name: String,
    pub arguments: Vec<String>,
    /// Where its output goes; what it says on standard error goes to `log`.
    pub output: Option<PathBuf>,
    pub log: PathBuf,
}

/// What became of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    Done,
    Failed(String),
    /// The user wanted to end before it was done.
    Stopped,
}

/// Threads of each of `jobs` processes: as even as can be, and `threads` together.
pub fn shares(threads: usize, jobs: usize) -> Vec<usize> {
    (0..jobs).map(|i| threads / jobs + usize::from(i < threads % jobs)).collect()
}

/// Runs tasks, one a share at a time. `told` hears of each as it ends. One that cannot be started or waited for has failed
/// as any other that fails: the rest goes on.
pub fn run(tasks: &[Task], shares: &[usize], mut told: impl FnMut(usize, &Fate)) -> Vec<Fate> {
    let mut slots: Vec<Option<(usize, Child)>> = shares.iter().map(|_| None).collect();
    let mut fates: Vec<Fate> = vec![Fate::Stopped; tasks.len()];
    let (mut next, mut asked) = (0, false);
    loop {
        for (slot, &threads) in slots.iter_mut().zip(shares) {
            if let Some((i, child)) = slot {
                let fate = match child.try_wait() {
                    Ok(None) => continue,
                    Ok(Some(status)) if status.success() => Fate::Done,
                    Ok(Some(_)) if asked => Fate::Stopped,
                    Ok(Some(status)) => Fate::Failed(reason(&tasks[*i].log, status)),
                    Err(e) => Fate::Failed(format!("cannot be waited for: {e}")),
                };
                told(*i, &fate);
                fates[*i] = fate;
                *slot = None;
            }
            while slot.is_none() && next < tasks.len() && !stop::wanted() {
                match start(&tasks[next], threads) {
                    Ok(child) => *slot = Some((next, child)),
                    Err(why) => {
                        fates[next] = Fate::Failed(why);
                        told(next, &fates[next]);
                    }
                }
                next += 1;
            }
        }
        if slots.iter().all(Option::is_none) && (next == tasks.len() || stop::wanted()) {
            return fates;
        }
        if stop::wanted() && !asked {
            asked = true;
            slots.iter_mut().flatten().for_each(|(_, child)| ask_to_end(child));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn start(task: &Task, threads: usize) -> Result<Child, String> {
    let program = std::env::current_exe().map_err(|e| format!("cannot be started: {e}"))?;
    let file =
        |path: &Path| File::create(path).map_err(|e| format!("{}: cannot be written: {e}", path.display()));
    let mut command = Command::new(program);
    command.args(&task.arguments).args(["--threads", &threads.to_string()]).stdin(Stdio::null());
    command.stderr(file(&task.log)?);
    match &task.output {
        Some(path) => command.stdout(file(path)?),
        None => command.stdout(Stdio::null()),
    };
    // A signal from the terminal would reach a child of the same group twice: from there and from here.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map_err(|e| format!("cannot be started: {e}"))
}

/// Lets a child write its checkpoint and end, where the system has signals; ends it otherwise.
fn ask_to_end(child: &mut Child) {
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    if !sent.is_ok_and(|status| status.success()) {
        let _ = child.kill();
    }
}

/// Why a process failed: its last line.
fn reason(log: &Path, status: std::process::ExitStatus) -> String {
    let text =
        std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let last = text.lines().rev().find_map(|line| line.strip_prefix("comhe: "));
    last.map_or_else(|| format!("{status}; see {}", log.display()), String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_budget() {
        for (threads, jobs) in [(2, 1), (2, 2), (7, 3), (16, 5)] {
            let shares = shares(threads, jobs);
            assert_eq!((shares.iter().sum::<usize>(), shares.len()), (threads, jobs));
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }
}
