//! One event to all followers of a topic: CPU of the writers, from news to the last `send`. What publishing costs, and the
//! clients, which are in this process as well, are not in it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sse_server::Server;

use crate::bare::Bare;
use crate::clients::Clients;
use crate::config;
use crate::cpu::Threads;

const DATA_BYTES: usize = 200;

pub(crate) fn bench(c: &mut Criterion) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the hard limit it is free");
    let mut group = c.benchmark_group("writer round");
    for followers in [100, 1000] {
        group.throughput(Throughput::Elements(followers as u64));
        for io_uring in ["auto", "off"] {
            let addr = serve(io_uring);
            let mut clients = Clients::follow(addr, "bench", followers);
            let mut publisher = TcpStream::connect(addr).expect("the server listens");
            let writers = Threads::named("writer-");
            let mut count = 0;
            group.bench_function(BenchmarkId::new(format!("io_uring {io_uring}"), followers), |b| {
                b.iter_custom(|rounds| {
                    cpu_of(&writers, rounds, || {
                        count += 1;
                        let data = data(count);
                        publish(&mut publisher, &data);
                        clients.all_have(&data);
                    })
                });
            });
        }
        let bare = Bare::start("bare-loop", followers);
        let mut clients = Clients::follow(bare.addr, "bench", followers);
        let sender = Threads::named("bare-loop");
        let mut count = 0;
        group.bench_function(BenchmarkId::new("bare sends", followers), |b| {
            b.iter_custom(|rounds| {
                cpu_of(&sender, rounds, || {
                    count += 1;
                    let data = data(count);
                    let event = format!("id: 1abcdefg-{count:016}\ndata: {data}\n\n");
                    bare.publish(format!("{:x}\r\n{event}\r\n", event.len()).into_bytes());
                    clients.all_have(&data);
                })
            });
        });
    }
}

/// What the threads used for so many rounds.
fn cpu_of(threads: &Threads, rounds: u64, mut round: impl FnMut()) -> Duration {
    let before = threads.used();
    (0..rounds).for_each(|_| round());
    threads.used() - before
}

/// Another text each time.
fn data(count: u64) -> String {
    format!("{count:0DATA_BYTES$}")
}

/// Starts a server with one writer, for as long as this process is there.
fn serve(io_uring: &str) -> SocketAddr {
    let flags = ["--listen=127.0.0.1:0", "--admin-listen=off", "--writers=1"].map(str::to_owned);
    let config = config(flags.into_iter().chain([format!("--io-uring={io_uring}")]));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = Box::leak(Box::new(runtime.expect("there is room for a thread")));
    let server = runtime.block_on(async { Server::bind(config, None) }).expect("loopback has free ports");
    let addr = server.addresses().expect("it is bound").listen[0];
    runtime.spawn(server.run(std::future::pending()));
    addr
}

fn publish(publisher: &mut TcpStream, data: &str) {
    let request =
        format!("POST /events/bench HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{data}", data.len());
    publisher.write_all(request.as_bytes()).expect("the server takes requests");
    let mut answer = [0; 1024];
    let len = publisher.read(&mut answer).expect("it answers");
    assert!(answer[..len].starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer[..len]));
}
