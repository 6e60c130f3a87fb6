//! What `README.md` shows works as it stands there.

use std::process::Stdio;

use crate::command::Command;
use crate::server::Server;

const README: &str = include_str!("../../../../README.md");

/// The quick start's line that begins with `start`, at work on this server.
fn shown(start: &str, server: &Server) -> Command {
    let line = README.lines().find(|line| line.starts_with(start)).expect("the quick start has it");
    let line = line.split('#').next().unwrap_or(line);
    assert!(line.contains("localhost:8080"), "{line}");
    let mut shell = std::process::Command::new("sh");
    // The shell becomes curl, so that killing it ends curl.
    shell.args(["-c", &format!("exec {}", line.replace("localhost:8080", server.address()))]).stdout(Stdio::piped());
    Command::of(shell)
}

#[test]
fn the_first_stream_is_as_shown() {
    let server = Server::start(&[]);
    let follower = shown("curl -N ", &server);
    assert!(follower.line().starts_with("retry: ") && follower.line().is_empty());
    let published = shown("curl -d ", &server).finish();
    let answer: serde_json::Value = serde_json::from_str(&published.out.concat()).expect("the answer is JSON");
    assert_eq!(follower.line(), format!("id: {}", answer["id"].as_str().expect("it names the id")));
    assert_eq!(follower.line(), "data: hello");
}

/// Everything between these two lines stands in the README, word for word.
mod example {
    // README begins
    use sse_hub::{Delivery, Hub, Publication, SubscribeOptions, TopicName};
    use sse_wire::Event;

    pub(super) async fn hello() -> anyhow::Result<()> {
        let hub = Hub::builder().build()?;
        let news = TopicName::parse("news")?;
        let mut subscription = hub.subscribe(SubscribeOptions::topic(news.clone()))?;
        hub.publish(Publication::new(news.clone(), Event::new("hello")))?;
        hub.close(&news)?;
        while let Some(delivery) = subscription.next().await {
            match delivery {
                Delivery::Frames(batch) => {
                    for item in batch.items() {
                        println!("{:?}", item.frame.text());
                    }
                }
                Delivery::Gap(gap) => println!("{} is missing before {}", gap.requested, gap.resumed_after),
                Delivery::Evicted(reason) => println!("too slow: {}", reason.as_str()),
            }
        }
        Ok(())
    }
    // README ends
}

#[test]
fn the_hub_works_as_shown() {
    let source = include_str!("readme.rs");
    let example = source.split_once("// README begins\n").and_then(|(_, rest)| rest.split_once("    // README ends"));
    let (example, _) = example.expect("this file has both lines");
    let lines: Vec<&str> = example.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    let shown = lines.join("\n").replace("pub(super) ", "");
    assert!(README.contains(&shown), "README.md should have\n{shown}");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(example::hello()).expect("it runs");
}
