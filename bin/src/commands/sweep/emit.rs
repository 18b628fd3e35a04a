//! A sweep as jobs of another program: Slurm, GNU parallel, MPI.

use std::path::{Path, absolute};

use clap::ValueEnum;
use nn::write_atomic;

use super::plan::{Job, Place};
use crate::failure::Failure;
use crate::output;

/// Which program runs the jobs.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Engine {
    /// A script for an array job
    Slurm,
    /// A file of commands
    GnuParallel,
    /// A script whose ranks share the commands
    Mpi,
}

/// Writes the commands of the jobs and the engine's script; prints how to start them.
pub fn emit(
    engine: Engine,
    place: &Place,
    jobs: &[&Job],
    more: &[String],
    slots: usize,
    threads: usize,
) -> Result<(), Failure> {
    let commands: Vec<String> =
        jobs.iter().map(|job| command(place, job, more, threads)).collect::<Result<_, _>>()?;
    let list = place.root().join("jobs.txt");
    write(&list, &(commands.join("\n") + "\n"))?;
    let (list, n) = (whole(&list)?, jobs.len());
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
            format!("sbatch {}", whole(&script)?)
        }
        Engine::Mpi => {
            let script = place.root().join("sweep-mpi.sh");
            let text = format!(
                "#!/bin/sh\n# Rank r of n runs the commands r, r + n, r + 2n, ... (Open MPI, MPICH, srun). A command that fails stops\n\
                 # no other one, here or in another rank.\n\
                 rank=${{OMPI_COMM_WORLD_RANK:-${{PMI_RANK:-${{SLURM_PROCID:?no rank of MPI in the environment}}}}}}\n\
                 size=${{OMPI_COMM_WORLD_SIZE:-${{PMI_SIZE:-${{SLURM_NTASKS:?no number of ranks in the environment}}}}}}\n\
                 awk -v r=\"$rank\" -v n=\"$size\" '(NR - 1) % n == r' {list} | while IFS= read -r job; do\n\
                 \x20   sh -c \"$job\" < /dev/null || echo \"rank $rank: failed: $job\" >&2\ndone\nexit 0\n"
            );
            write(&script, &text)?;
            format!("mpirun -n {slots} sh {}", whole(&script)?)
        }
    };
    eprintln!("{n} commands; start them with the line below, then: comhe sweep FILE --collect");
    output::line(&start)
}

/// One run as a line for a shell. A task that an engine starts anew (Slurm's requeue, parallel --retries) goes on with
/// what it had begun.
fn command(place: &Place, job: &Job, more: &[String], threads: usize) -> Result<String, Failure> {
    let program = std::env::current_exe().map_err(Failure::unfinished)?;
    let (folder, log) = (whole(&place.run(job))?, whole(&place.log(job))?);
    let (begun, config) = (whole(&place.run(job).join("config.toml"))?, whole(&place.config(job))?);
    let more: String = more.iter().map(|argument| format!(" {}", quoted(argument))).collect();
    Ok(format!(
        "if [ -e {begun} ]; then set -- --resume {folder}; else set -- --config {config} --out {folder}; fi; \
         {} train \"$@\"{more} --threads {threads} > {log} 2>&1",
        whole(&program)?
    ))
}

fn whole(path: &Path) -> Result<String, Failure> {
    Ok(quoted(&absolute(path).map_err(Failure::unfinished)?.display().to_string()))
}

/// A word that a shell takes as it is.
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
