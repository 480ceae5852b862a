//! `vip-agent`: the daemon and its command line.

fn main() -> std::process::ExitCode {
    vip_agent::cli::main().into()
}
