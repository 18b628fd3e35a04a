//! Child processes that are executed at the same time, within a number of threads.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::stop;

/// A command of this program, without its `--threads`.
pub struct Task {
    pub name: String,
    pub arguments: Vec<String>,
    /// The file for standard output.
    pub output: Option<PathBuf>,
    /// The file for standard error.
    pub log: PathBuf,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    Done,
    Failed(String),
    /// Interrupted by the user.
    Stopped,
}

/// Divides `threads` as evenly as possible among `jobs` processes.
pub fn shares(threads: usize, jobs: usize) -> Vec<usize> {
    (0..jobs).map(|i| threads / jobs + usize::from(i < threads % jobs)).collect()
}

/// Runs tasks, as many at a time as there are shares, and calls `on_end` when one ends. A task that fails, or cannot be
/// started, does not stop the others.
pub fn run(tasks: &[Task], shares: &[usize], mut on_end: impl FnMut(usize, &Status)) -> Vec<Status> {
    let mut slots: Vec<Option<(usize, Child)>> = shares.iter().map(|_| None).collect();
    let mut statuses: Vec<Status> = vec![Status::Stopped; tasks.len()];
    let (mut next, mut terminated) = (0, false);
    loop {
        for (slot, &threads) in slots.iter_mut().zip(shares) {
            if let Some((i, child)) = slot {
                let status = match child.try_wait() {
                    Ok(None) => continue,
                    Ok(Some(exit)) if exit.success() => Status::Done,
                    Ok(Some(_)) if terminated => Status::Stopped,
                    Ok(Some(exit)) => Status::Failed(reason(&tasks[*i].log, exit)),
                    Err(e) => Status::Failed(format!("cannot be waited for: {e}")),
                };
                on_end(*i, &status);
                statuses[*i] = status;
                *slot = None;
            }
            while slot.is_none() && next < tasks.len() && !stop::wanted() {
                match start(&tasks[next], threads) {
                    Ok(child) => *slot = Some((next, child)),
                    Err(why) => {
                        statuses[next] = Status::Failed(why);
                        on_end(next, &statuses[next]);
                    }
                }
                next += 1;
            }
        }
        if slots.iter().all(Option::is_none) && (next == tasks.len() || stop::wanted()) {
            return statuses;
        }
        if stop::wanted() && !terminated {
            terminated = true;
            slots.iter_mut().flatten().for_each(|(_, child)| terminate(child));
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
    // In its own process group, a child gets the terminal's signals from here alone.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map_err(|e| format!("cannot be started: {e}"))
}

/// Sends SIGTERM, after which a run writes a checkpoint and ends; kills the child where there are no signals.
fn terminate(child: &mut Child) {
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    if !sent.is_ok_and(|status| status.success()) {
        let _ = child.kill();
    }
}

/// The reason of a failure: the error message in the log.
fn reason(log: &Path, exit: std::process::ExitStatus) -> String {
    let text =
        std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let last = text.lines().rev().find_map(|line| line.strip_prefix("comhe: "));
    last.map_or_else(|| format!("{exit}; see {}", log.display()), String::from)
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
