//! The `sse-server` binary: the life of the process.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sse_server::{
    Addresses, Command, Config, ConfigError, Inherited, Predecessor, Reloader, Server, logging, memory, service_manager,
};
use tokio::signal::unix::{SignalKind, signal};

/// Exit codes: bad settings (`EX_USAGE`), and a start that failed.
const EXIT_START_FAILED: u8 = 1;
/// How long the last words may take.
const COMPLAINT_MAX: Duration = Duration::from_secs(1);

/// Files are looked at every second, each time by the helping thread that has waited longest: if all were kept for longer than some
/// looks take, those that a moment's rush has brought would never go.
const HELPER_KEPT: Duration = Duration::from_millis(1_500);

fn main() -> ExitCode {
    memory::set_up();
    let sockets = match Inherited::take().context("taking the sockets of the service manager") {
        Ok(sockets) => sockets,
        Err(error) => return failed(&error),
    };
    let (command, reloader) = match Config::load_process(&sockets.settings()) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(ConfigError::EXIT_CODE);
        }
    };
    let done = match command {
        Command::Help(text) | Command::Version(text) => print(&text),
        Command::CheckConfig(_) => print("the settings are good\n"),
        Command::PrintConfig(config) => print(&config.to_toml()),
        Command::Publish(args) => sse_server::client::publish(&args),
        Command::Subscribe(args) => sse_server::client::subscribe(&args),
        Command::Top(args) => sse_server::client::top(&args),
        Command::Health(args) => sse_server::client::health(&args),
        Command::Token(args) => sse_server::client::token(&args).and_then(|token| print(&format!("{token}\n"))),
        Command::Log(args) => sse_server::client::log(&args),
        Command::Upgrade(config) => upgrade(&config),
        Command::Serve(config) => serve(*config, sockets, reloader),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Says what went wrong, and goes on if nobody takes it: a pipe that is full must not keep the process from ending.
fn failed(error: &anyhow::Error) -> ExitCode {
    let text = format!("sse-server: {error:#}");
    let told = std::thread::spawn(move || eprintln!("{text}"));
    let deadline = Instant::now() + COMPLAINT_MAX;
    while !told.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    ExitCode::from(EXIT_START_FAILED)
}

/// Prints to standard output; a reader that has gone away is no fault.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("printing"),
        _ => Ok(()),
    }
}

fn serve(config: Config, sockets: Inherited, reloader: Reloader) -> anyhow::Result<()> {
    let _logging = logging::start(&config).context("starting the log")?;
    for danger in config.dangers() {
        tracing::warn!("{danger}");
    }
    raise_descriptor_limit();
    let metrics = install_metrics()?;
    logging::report_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_keep_alive(HELPER_KEPT)
        .build()
        .context("starting the runtime")?;
    let served = runtime.block_on(async {
        let ready_file = config.ready_file.clone();
        let upgrade_socket = config.upgrade_socket.clone();
        let predecessor = Predecessor::find(&config).context("asking the running server")?;
        let is_successor = predecessor.is_some();
        let server = match predecessor {
            Some(predecessor) => succeed(config, predecessor, metrics)?,
            None => Server::bind_with(config, sockets, Some(metrics))?,
        };
        let mut server = server.reload_from(reloader).context("watching for SIGHUP")?;
        if let Some(path) = &upgrade_socket {
            match server.succeeded_at(path).context("listening at the upgrade socket") {
                // Nobody else has the streams any more.
                Err(error) if is_successor => tracing::error!("no successor can take over: {error:#}"),
                listening => listening?,
            }
        }
        let settings = server.settings();
        let addresses = server.addresses().context("reading the listeners' addresses")?;
        announce(&addresses, ready_file.as_deref())?;
        let shutdown = shutdown_signal().context("watching for signals")?;
        service_manager::ready(&addresses);
        let shutdown = async {
            shutdown.await;
            service_manager::stopping(settings().drain_window);
        };
        server.run(shutdown).await?;
        anyhow::Ok(())
    });
    // Whatever still runs holds nothing that matters.
    runtime.shutdown_background();
    served
}

/// Has the server that runs succeeded by a new process with the arguments that it was started with.
fn upgrade(config: &Config) -> anyhow::Result<()> {
    let path =
        config.upgrade_socket.as_deref().context("no upgrade_socket is set, at which a server could be asked")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().context("starting the runtime")?;
    runtime.block_on(async { Predecessor::replace(path) }).context("asking the running server")?;
    print("another process serves now\n")
}

/// Takes the place of a server that runs. Where the service manager had opened its listeners, no setting names them.
fn succeed(config: Config, predecessor: Predecessor, metrics: PrometheusHandle) -> anyhow::Result<Server> {
    let sockets = predecessor.settings();
    let config = match (sockets.is_empty(), Config::load_process(&sockets)?) {
        (false, (Command::Serve(config), _)) => *config,
        _ => config,
    };
    Ok(Server::succeed(config, predecessor, Some(metrics))?)
}

/// Every stream is a descriptor: takes all that the system allows this process.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    PrometheusBuilder::new()
        .set_buckets(&sse_server::HISTOGRAM_BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .context("installing the metrics recorder")
}

fn announce(addresses: &Addresses, ready_file: Option<&Path>) -> anyhow::Result<()> {
    let listen = addresses.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let admin = addresses.admin.map_or_else(|| "off".to_owned(), |addr| addr.to_string());
    tracing::info!(listen, admin, version = env!("CARGO_PKG_VERSION"), "listening");
    let Some(path) = ready_file else { return Ok(()) };
    // Whoever waits for the file sees it whole or not at all.
    let unfinished = path.with_extension("tmp");
    let document = serde_json::to_vec(addresses).context("describing the addresses")?;
    std::fs::write(&unfinished, document)
        .and_then(|()| std::fs::rename(&unfinished, path))
        .with_context(|| format!("writing the ready file {}", path.display()))
}

/// Completes at the first SIGTERM or SIGINT; a second one ends the process at once.
fn shutdown_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => (),
                _ = interrupt.recv() => (),
            }
            tracing::warn!("stopped by a second signal");
            std::process::exit(1);
        });
    })
}
