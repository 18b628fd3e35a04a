//! The `comhe` command: training under hyperspherical-energy regularisers, and the tools around it.
//!
//! Exit codes: 0 done; 1 a check failed or a run could not finish; 2 wrong usage or unusable input, with one line
//! on standard error. Results go to standard output, progress to standard error.

/// Progress and logs. As `std`'s, but a closed or full standard error is no reason to end a run.
macro_rules! eprintln {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}

/// As the above, without an end of line.
macro_rules! eprint {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = write!(std::io::stderr(), $($text)*);
    }};
}

mod commands;
mod config;
mod data;
mod download;
mod failure;
mod figures;
mod hash;
mod memory;
mod output;
mod picture;
mod plot;
mod progress;
mod run_folder;
mod setup;
mod statistics;
mod stop;
mod system;
mod tensor_file;
mod tensorboard;
mod tui;
mod watch;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use commands::attack::AttackOf;
use commands::bench::Bench;
use commands::compare::Compare;
use commands::config_show::ConfigOf;
use commands::convert::Convert;
use commands::data::Data;
use commands::energy::EnergyOf;
use commands::energy_cost::EnergyCost;
use commands::eval::Eval;
use commands::export::Export;
use commands::generated::{Completions, Man};
use commands::grad::Grad;
use commands::gradcheck::Gradcheck;
use commands::inspect::Inspect;
use commands::landscape::Landscape;
use commands::lrfind::LrFind;
use commands::meta::Meta;
use commands::replay::Replay;
use commands::report::Report;
use commands::sweep::Sweep;
use commands::theory::Theory;
use commands::thomson::Thomson;
use commands::train::Train;
use failure::Failure;

/// Spread the neurons of a network over the sphere, and see what it does: hyperspherical energy (MHE) and its
/// projected form (CoMHE) as weight regularisers, on a CPU
#[derive(Parser, Debug)]
#[command(
    name = "comhe",
    version,
    long_version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("COMHE_COMMIT"), ")"),
    max_term_width = 110,
    after_help = "Examples:
  comhe compare                         four regularisers, five seeds, about two minutes
  comhe train --dataset fashion-mnist   one network, one run folder
  comhe eval runs/fashion-mnist-lenet-none-1
  comhe report runs                     all runs in a folder as one page
  comhe energy weights.safetensors      how spread are these neurons?

comhe COMMAND --help says more. Exit codes: 0 done, 1 a check failed or a run could not
finish, 2 wrong usage or unusable input."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Compare(Box<Compare>),
    Train(Box<Train>),
    Sweep(Sweep),
    Eval(Box<Eval>),
    Attack(Box<AttackOf>),
    Export(Export),
    Replay(Replay),
    Report(Report),
    Data(Data),
    Grad(Box<Grad>),
    Convert(Convert),
    Energy(Box<EnergyOf>),
    EnergyCost(EnergyCost),
    Inspect(Box<Inspect>),
    Landscape(Box<Landscape>),
    Gradcheck(Box<Gradcheck>),
    Theory(Theory),
    Thomson(Thomson),
    Bench(Bench),
    Lrfind(Box<LrFind>),
    Meta(Box<Meta>),
    Config(ConfigOf),
    Completions(Completions),
    Man(Man),
}

/// A number after a flag may be negative: what is wrong with it is for the command to say.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg })
        .mut_subcommands(with_negative_numbers)
}

/// Some commands understand all settings, to say which have no effect on them; their help has those that do.
fn with_short_help(command: clap::Command) -> clap::Command {
    let commands = [
        ("attack", commands::attack::READS),
        ("compare", commands::compare::READS),
        ("eval", commands::eval::READS),
        ("grad", commands::grad::READS),
        ("gradcheck", commands::gradcheck::READS),
        ("inspect", commands::inspect::READS),
        ("landscape", commands::landscape::READS),
    ];
    commands.into_iter().fold(command, |command, (name, reads)| {
        let shown = move |arg: &clap::Arg| arg.get_long().is_none_or(|key| reads.has(key));
        command.mut_subcommand(name, |c| c.mut_args(|arg| if shown(&arg) { arg } else { arg.hide(true) }))
    })
}

/// The command line as it is parsed and documented.
fn full_command() -> clap::Command {
    with_short_help(with_negative_numbers(Cli::command()))
}

fn run() -> Result<(), Failure> {
    let parsed =
        full_command().try_get_matches().and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return output::line(failure::from_clap(&error)?.trim_end()),
    };
    autograd::check_environment().map_err(Failure::usage)?;
    let none = ArgMatches::default();
    let given = matches.subcommand().map_or(&none, |(_, given)| given);
    match cli.command {
        Command::Compare(compare) => compare.run(given),
        Command::Train(train) => train.run(given),
        Command::Sweep(sweep) => sweep.run(),
        Command::Eval(eval) => eval.run(given),
        Command::Attack(attack) => attack.run(given),
        Command::Export(export) => export.run(),
        Command::Replay(replay) => replay.run(),
        Command::Report(report) => report.run(),
        Command::Data(data) => data.run(),
        Command::Grad(grad) => grad.run(given),
        Command::Convert(convert) => convert.run(),
        Command::Energy(energy) => energy.run(),
        Command::EnergyCost(cost) => cost.run(),
        Command::Inspect(inspect) => inspect.run(given),
        Command::Landscape(landscape) => landscape.run(given),
        Command::Gradcheck(gradcheck) => gradcheck.run(given),
        Command::Theory(theory) => theory.run(),
        Command::Thomson(thomson) => thomson.run(),
        Command::Bench(bench) => bench.run(),
        Command::Lrfind(lrfind) => lrfind.run(given),
        Command::Meta(meta) => meta.run(given),
        Command::Config(config) => config.run(given),
        Command::Completions(completions) => completions.run(full_command()),
        Command::Man(man) => man.run(full_command()),
    }
}

/// Runs the command that the arguments of this process name.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                eprintln!("comhe: {message}");
            }
            ExitCode::from(failure.code())
        }
    }
}
