//! Publishes messages into a JetStream of the NATS server at an address, so many unacknowledged at most: `jetstream URL MESSAGES FLIGHT`.
//! Prints messages per second.

use std::{collections::VecDeque, future::IntoFuture, time::Instant};

use async_nats::jetstream::{self, stream};

const BYTES: usize = 222;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, messages, flight] = &arguments[..] else { return Err("want URL MESSAGES FLIGHT".into()) };
    let (messages, flight): (usize, usize) = (messages.parse()?, flight.parse()?);
    let context = jetstream::new(async_nats::connect(url).await?);
    let config = stream::Config {
        name: "EVENTS".into(),
        subjects: vec!["events".into()],
        storage: stream::StorageType::File,
        ..Default::default()
    };
    context.create_stream(config).await?;
    let line = "x".repeat(BYTES);
    let mut waiting = VecDeque::with_capacity(flight);
    let start = Instant::now();
    for _ in 0..messages {
        if waiting.len() == flight {
            let oldest: jetstream::context::PublishAckFuture = waiting.pop_front().expect("a full flight");
            oldest.into_future().await?;
        }
        waiting.push_back(context.publish("events", line.clone().into()).await?);
    }
    for ack in waiting {
        ack.into_future().await?;
    }
    println!("{}", messages as f64 / start.elapsed().as_secs_f64());
    Ok(())
}
