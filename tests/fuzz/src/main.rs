//! `precast-fuzz TARGET [--count N | --seconds N] [--seed S] [--failures N] [--verbose]`

fn main() -> std::process::ExitCode {
    precast_fuzz::PROGRAM.main()
}
