//! `stratamq`: one binary, a subcommand per role. Only this crate reads files, the environment and arguments.

mod admin;
mod bench;
mod cluster;
mod config;
mod error;
mod logs;
mod mq;
mod output;
mod role;
mod table;

use std::io::Write;

use clap::{Parser, Subcommand};

use crate::error::{Error, Outcome};

/// Buffers are filled by one thread and dropped by another, for every message: glibc's allocator takes a tenth of its time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A message broker in layers: RocketMQ on top, ledgers below, etcd for who owns what.
#[derive(Parser)]
#[command(name = "stratamq", version, arg_required_else_help = true, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Keep ledgers: a storage process
    Bookie(role::config::BookieFlags),
    /// Tell clients where topics are: a name server
    Namesrv(role::config::NamesrvFlags),
    /// Serve RocketMQ's clients: virtual brokers on a cluster's ledgers
    Broker(role::config::BrokerFlags),
    /// Everything in one process and one folder
    Standalone(role::config::StandaloneFlags),
    /// Audit and repair, beside bookies that do not (Apache's, on etcd)
    Autorecovery(role::autorecovery::Arguments),
    /// Look at a cluster, and change it
    Admin(admin::Arguments),
    /// Topics: what there is, and what is in it
    Topic(mq::Arguments<mq::topic::Command>),
    /// Consumer groups: who, how far behind, where next
    Group(mq::Arguments<mq::group::Command>),
    /// Send messages, show them, find them
    Message(mq::Arguments<mq::message::Command>),
    /// Brokers, as clients see them
    Cluster(mq::Arguments<mq::cluster::Command>),
    /// Measure a cluster
    #[command(subcommand)]
    Bench(bench::Command),
    /// Check a configuration, or show what it comes to
    #[command(subcommand)]
    Config(role::config::Command),
    Quickstart(role::quickstart::Arguments),
}

fn main() -> ! {
    let outcome = match Arguments::parse().command {
        Command::Bookie(flags) => flags.resolve().and_then(|resolved| {
            let settings = resolved.checked()?;
            serve(settings.log.clone(), settings.log_format, role::bookie::run(settings))
        }),
        Command::Namesrv(flags) => flags.resolve().and_then(|resolved| {
            let settings = resolved.checked()?;
            serve(settings.log.clone(), settings.log_format, role::namesrv::run(settings))
        }),
        Command::Broker(flags) => flags.resolve().and_then(|resolved| {
            let settings = resolved.checked()?;
            serve(settings.log.clone(), settings.log_format, role::broker::run(settings))
        }),
        Command::Standalone(flags) => flags.resolve().and_then(|resolved| {
            let settings = resolved.checked()?;
            serve(settings.log.clone(), settings.log_format, role::standalone::run(settings))
        }),
        Command::Autorecovery(arguments) => logs::start("info", arguments.log_format)
            .and_then(|()| on_threads(role::autorecovery::run(arguments))),
        Command::Admin(arguments) => tool(admin::run(arguments)),
        Command::Topic(arguments) => tool(mq::topic::run(arguments)),
        Command::Group(arguments) => tool(mq::group::run(arguments)),
        Command::Message(arguments) => tool(mq::message::run(arguments)),
        Command::Cluster(arguments) => tool(mq::cluster::run(arguments)),
        // Loader and sockets share a thread: there is no hop between an acknowledgement and its clock.
        Command::Bench(command) => tool(bench::run(command)),
        Command::Config(command) => role::config::run(command),
        Command::Quickstart(arguments) => logs::start("error", config::LogFormat::Text)
            .and_then(|()| on_threads(role::quickstart::run(arguments))),
    };
    leave(match outcome {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("stratamq: {error}");
            error.exit_code()
        }
    })
}

/// Ends the process as it is. To return from `main` would destroy RocksDB's global locks first, and a thread of a bookie
/// that has stopped may still be on its way out through them: then they abort.
fn leave(code: i32) -> ! {
    let _ = std::io::stdout().flush();
    // SAFETY: it takes no pointer, and nothing runs after it.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(code)
    }
}

fn serve(log: config::LogFilter, format: config::LogFormat, role: impl Future<Output = Outcome>) -> Outcome {
    logs::start(log.as_str(), format)?;
    on_threads(role)
}

fn on_threads(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Error::cannot("start", error))?.block_on(work)
}

/// A command that does something and ends: on one thread, telling only what goes wrong.
fn tool(work: impl Future<Output = Outcome>) -> Outcome {
    logs::start("warn", config::LogFormat::Text)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::cannot("start", error))?.block_on(work)
}
