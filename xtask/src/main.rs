//! `cargo xtask`: everything a developer does with this repository, one file for each subcommand.

mod bench;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with vip-agent/build.rs, which uses the rest"
)]
mod bpf_toolchain;
mod build;
mod ci;
mod demo;
mod run;
mod setup;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

/// Set up, build, run, test and measure VIP.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Command {
    Setup(setup::Setup),
    Build(build::Build),
    Run(run::Run),
    Demo(demo::Demo),
    Test(test::Test),
    Bench(bench::Bench),
    Ci(ci::Ci),
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Setup(setup) => setup.run(),
        Command::Build(build) => build.run(),
        Command::Run(run) => run.run(),
        Command::Demo(demo) => demo.run(),
        Command::Test(test) => test.run(),
        Command::Bench(bench) => bench.run(),
        Command::Ci(ci) => ci.run(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
