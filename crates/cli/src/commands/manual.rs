//! `completions` and `man`.

use crate::failure::Failure;
use crate::output::Out;
use clap_complete::Shell;

pub(super) fn completions(out: &Out, shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::command(), "kruxos", &mut script);
    out.raw(&script);
    Ok(())
}

/// The page of one command; its name in the page is the whole way to it.
pub(super) fn page(out: &Out, path: &[String]) -> Result<(), Failure> {
    let mut command = crate::command();
    command.build();
    let mut found = &command;
    for name in path {
        found = found.find_subcommand(name).ok_or_else(|| {
            Failure::not_found(format!("there is no command '{}'", path.join(" ")))
                .hint("kruxos --help lists the commands.")
        })?;
    }
    let name: String = std::iter::once("kruxos")
        .chain(path.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join("-");
    let mut rendered = Vec::new();
    clap_mangen::Man::new(found.clone().name(name)).render(&mut rendered)?;
    out.raw(&rendered);
    Ok(())
}
