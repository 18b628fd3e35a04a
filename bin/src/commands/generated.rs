//! `comhe completions` and `comhe man`: what is generated from the command line's own description.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output;

/// Completions of a shell, on standard output
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe completions bash > ~/.local/share/bash-completion/completions/comhe
  comhe completions zsh > ~/.zfunc/_comhe
  comhe completions fish > ~/.config/fish/completions/comhe.fish")]
pub struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    /// Runs the command.
    pub fn run(self, mut command: Command) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, "comhe", &mut text);
        output::line(String::from_utf8_lossy(&text).trim_end())
    }
}

/// Manual pages, one a command
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  comhe man --out ~/.local/share/man/man1
  man comhe-train")]
pub struct Man {
    /// The folder of the pages
    #[arg(long, value_name = "DIR", default_value = "man")]
    out: PathBuf,
}

impl Man {
    /// Runs the command.
    pub fn run(self, command: Command) -> Result<(), Failure> {
        fs::create_dir_all(&self.out)
            .map_err(|e| Failure::place(&self.out, format_args!("cannot be made: {e}")))?;
        let command = command.disable_help_subcommand(true);
        write(&self.out, &command, "comhe")?;
        output::line(&self.out.display().to_string())
    }
}

/// The page of a command, and those of the commands below it.
fn write(folder: &Path, command: &Command, name: &str) -> Result<(), Failure> {
    let path = folder.join(format!("{name}.1"));
    let mut text = Vec::new();
    // clap wants texts that live as long as the program; each name is made once.
    let named = command.clone().name(&*Box::leak(name.to_string().into_boxed_str()));
    let written = clap_mangen::Man::new(named).render(&mut text).and_then(|()| fs::write(&path, &text));
    written.map_err(|e| Failure::place(&path, format_args!("cannot be written: {e}")))?;
    let below = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    below.into_iter().try_for_each(|sub| write(folder, sub, &format!("{name}-{}", sub.get_name())))
}
