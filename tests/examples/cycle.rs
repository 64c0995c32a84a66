//! Scratch throughput.
use futures::StreamExt;
use proto::*;
use spoke::{Spoke, SpokeOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static A: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let n: u64 = args.get(1).map_or(100_000, |a| a.parse().unwrap());
    let consume = args.get(2).is_some_and(|a| a == "cycle");
    let dir = tempfile::tempdir_in("/work").unwrap();
    let mut config = hub::HubConfig::new(dir.path().to_owned());
    if let Some(url) = args.get(3) {
        config.database = db::DatabaseUrl::parse(url).unwrap();
    }
    config.listen = "127.0.0.1:0".into();
    config.health = Some("127.0.0.1:50999".into());
    let (tx, rx) = tokio::sync::oneshot::channel();
    let stop = CancellationToken::new();
    let s2 = stop.clone();
    let mut set = tokio::task::JoinSet::new();
    set.spawn(async move { println!("{:?}", hub::run(config, tx, s2).await) });
    rx.await.unwrap();
    let done = Arc::new(AtomicU64::new(0));
    let mut consumers = vec![];
    for i in 0..4 {
        if !consume {
            break;
        }
        let spoke = Spoke::connect(SpokeOptions::local("worker").unwrap().data(dir.path())).await.unwrap();
        let done = done.clone();
        let _ = i;
        let c = spoke
            .consumer(Domain::parse("order").unwrap())
            .concurrency(256)
            .any(move |_d| {
                let done = done.clone();
                async move {
                    done.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
            })
            .start()
            .await
            .unwrap();
        consumers.push(c);
    }
    let begin = Instant::now();
    let c0 = cpu();
    let mut pubs = tokio::task::JoinSet::new();
    for p in 0..4u64 {
        let data = dir.path().to_owned();
        let per = n / 4;
        pubs.spawn(async move {
            let spoke = Spoke::connect(SpokeOptions::local("shop").unwrap().data(data)).await.unwrap();
            let text = format!("{{\"x\":\"{}\"}}", "y".repeat(190));
            let data = Data::parse(text).unwrap();
            let mut s = futures::stream::iter(0..per)
                .map(|i| {
                    let spoke = spoke.clone();
                    let mut e = NewEvent::new(
                        Spoke::generate_id(),
                        Domain::parse("order").unwrap(),
                        Pid::parse(&format!("p{p}-{}", i % 1000)).unwrap(),
                        EventName::parse("placed").unwrap(),
                    );
                    e.data = data.clone();
                    async move { spoke.publish(e).await.unwrap() }
                })
                .buffer_unordered(256);
            while s.next().await.is_some() {}
        });
    }
    while pubs.join_next().await.is_some() {}
    let t = begin.elapsed();
    println!("published {n} in {t:?}: {:.0}/s", n as f64 / t.as_secs_f64());
    if consume {
        while done.load(Ordering::Relaxed) < n {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let t = begin.elapsed();
        println!("handled {n} in {t:?}: {:.0}/s", n as f64 / t.as_secs_f64());
        for c in consumers {
            c.stop().await.unwrap();
        }
        let t = begin.elapsed();
        println!("settled {n} in {t:?}: {:.0}/s", n as f64 / t.as_secs_f64());
    }
    println!("cpu {:.2}s per 100k", (cpu() - c0) / n as f64 * 1e5);
    stop.cancel();
    while set.join_next().await.is_some() {}
}
