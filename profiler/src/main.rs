//! The command `raptors-prof`.

fn main() -> std::process::ExitCode {
    raptors_prof::cli::main()
}
