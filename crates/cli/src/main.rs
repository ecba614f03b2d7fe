//! The `kruxos` command line.

fn main() -> std::process::ExitCode {
    kruxos_cli::main()
}
