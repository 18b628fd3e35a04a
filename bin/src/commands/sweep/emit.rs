//! The runs of a sweep as jobs for another program: Slurm, GNU parallel, MPI.

use std::path::{Path, absolute};

use clap::ValueEnum;
use nn::write_atomic;

use super::plan::{Job, Place};
use crate::failure::Failure;
use crate::output;
use crate::statistics::count;

/// The program that executes the jobs.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Engine {
    /// A script for an array job
    Slurm,
    /// A file of commands
    GnuParallel,
    /// A script whose ranks share the commands
    Mpi,
}

/// Writes the commands of the jobs and the script of the engine, and prints the command that starts them.
pub fn emit(
    engine: Engine,
    place: &Place,
    jobs: &[&Job],
    arguments: &[String],
    slots: usize,
    threads: usize,
) -> Result<(), Failure> {
    let commands: Vec<String> =
        jobs.iter().map(|job| command(place, job, arguments, threads)).collect::<Result<_, _>>()?;
    let list = place.root().join("jobs.txt");
    write(&list, &(commands.join("\n") + "\n"))?;
    let (list, n) = (shell_path(&list)?, jobs.len());
    let start = match engine {
        Engine::GnuParallel => format!("parallel --jobs {slots} < {list}"),
        Engine::Slurm => {
            let logs = place.root().join("logs");
            let logs = absolute(&logs).map_err(Failure::unfinished)?;
            let script = place.root().join("sweep.sbatch");
            let text = format!(
                "#!/bin/sh\n#SBATCH --job-name=comhe-sweep\n#SBATCH --array=1-{n}%{slots}\n#SBATCH --ntasks=1\n\
                 #SBATCH --cpus-per-task={threads}\n#SBATCH --output={}/slurm-%A-%a.out\n\
                 # Task i runs line i of the commands.\nexec sh -c \"$(sed -n \"${{SLURM_ARRAY_TASK_ID}}p\" {list})\"\n",
                logs.display()
            );
            write(&script, &text)?;
            format!("sbatch {}", shell_path(&script)?)
        }
        Engine::Mpi => {
            let script = place.root().join("sweep-mpi.sh");
            let text = format!(
                "#!/bin/sh\n# Rank r of n runs the commands r, r + n, r + 2n, ... (Open MPI, MPICH, srun). A command that fails\n\
                 # does not stop the others.\n\
                 rank=${{OMPI_COMM_WORLD_RANK:-${{PMI_RANK:-${{SLURM_PROCID:?no MPI rank in the environment}}}}}}\n\
                 size=${{OMPI_COMM_WORLD_SIZE:-${{PMI_SIZE:-${{SLURM_NTASKS:?no number of MPI ranks in the environment}}}}}}\n\
                 awk -v r=\"$rank\" -v n=\"$size\" '(NR - 1) % n == r' {list} | while IFS= read -r job; do\n\
                 \x20   sh -c \"$job\" < /dev/null || echo \"rank $rank: failed: $job\" >&2\ndone\nexit 0\n"
            );
            write(&script, &text)?;
            format!("mpirun -n {slots} sh {}", shell_path(&script)?)
        }
    };
    eprintln!("{}; start with the line below, then: comhe sweep FILE --collect", count(n, "command"));
    output::line(&start)
}

/// The shell command of a run. A task that an engine restarts (Slurm's requeue, parallel --retries) resumes.
fn command(place: &Place, job: &Job, arguments: &[String], threads: usize) -> Result<String, Failure> {
    let program = std::env::current_exe().map_err(Failure::unfinished)?;
    let (folder, log) = (shell_path(&place.run(job))?, shell_path(&place.log(job))?);
    let (started, config) =
        (shell_path(&place.run(job).join("config.toml"))?, shell_path(&place.config(job))?);
    let arguments: String = arguments.iter().map(|argument| format!(" {}", quoted(argument))).collect();
    Ok(format!(
        "if [ -e {started} ]; then set -- --resume {folder}; else set -- --config {config} --out {folder}; fi; \
         {} train \"$@\"{arguments} --threads {threads} > {log} 2>&1",
        shell_path(&program)?
    ))
}

/// An absolute path, quoted.
fn shell_path(path: &Path) -> Result<String, Failure> {
    Ok(quoted(&absolute(path).map_err(Failure::unfinished)?.display().to_string()))
}

/// A word quoted for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=+".contains(c);
    if word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    Ok(write_atomic(path, text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("/a/b=1_c-2.toml"), "/a/b=1_c-2.toml");
        for word in ["it's here", "$HOME", "a;b", "*"] {
            let echoed = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(word))])
                .output();
            assert_eq!(String::from_utf8(echoed.unwrap().stdout).unwrap(), word);
        }
    }
}
