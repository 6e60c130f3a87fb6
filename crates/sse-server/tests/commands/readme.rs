//! What `README.md` shows of the hub works as it stands there. `cargo xtask docs` holds it against this file, and runs the
//! commands that are shown.

use sse_hub::{Delivery, Hub, Publication, SubscribeOptions, TopicName};
use sse_wire::Event;

async fn hello() -> anyhow::Result<()> {
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

#[test]
fn the_hub_works_as_shown() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(hello()).expect("it runs");
}
