//! Health and metrics over plain HTTP, for those who watch the hub and cannot show a certificate.
//!
//! `/live` answers while the process runs, `/ready` while spokes are welcome, `/metrics` tells what
//! was counted. One request a connection; nothing that a caller does or leaves undone holds a
//! connection for longer than [`CONNECTION_WITHIN`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Connections at one time. More wait to be accepted.
const CONNECTIONS_MAX: usize = 32;

/// Bytes of a request. A larger one is answered with 431.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// From accept to the end of the answer; then the connection is closed.
const CONNECTION_WITHIN: Duration = Duration::from_secs(5);

/// Pause after a failed accept, which mostly means that the process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Whether spokes are welcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// They are.
    Ready,
    /// They are not, for this reason.
    NotReady(String),
}

impl Readiness {
    /// What a hub ends with.
    #[must_use]
    pub(crate) fn stopping() -> Self {
        Self::NotReady("the hub is stopping".to_owned())
    }
}

/// What is told; clones tell the same.
#[derive(Debug, Clone)]
pub(crate) struct HealthState {
    readiness: watch::Receiver<Readiness>,
    metrics: Metrics,
}

impl HealthState {
    /// Tells what `readiness` says last, and `metrics`.
    #[must_use]
    pub(crate) fn new(readiness: watch::Receiver<Readiness>, metrics: Metrics) -> Self {
        Self { readiness, metrics }
    }
}

/// Answers on `listener` until `stop`, then ends the connections that there are.
pub(crate) async fn serve(listener: TcpListener, state: HealthState, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            (stream, permit) = accept(&listener, &room) => {
                connections.spawn(answer(stream, permit, state.clone()));
            }
        }
    }
    connections.shutdown().await;
}

/// The next connection, once there is room for it. Cancel safe.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                tracing::warn!(%error, "a health connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, _permit: OwnedSemaphorePermit, state: HealthState) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let response = respond(request.method(), request.uri().path(), &state);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_WITHIN)
        .keep_alive(false)
        .max_buf_size(REQUEST_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever hangs up or dribbles gets no answer, and nobody needs to know.
    tokio::time::timeout(CONNECTION_WITHIN, connection).await.ok();
}

fn respond(method: &Method, path: &str, state: &HealthState) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
    if method != Method::GET && method != Method::HEAD {
        return page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".to_owned());
    }
    match path {
        "/live" => page(StatusCode::OK, TEXT, "live\n".to_owned()),
        "/ready" => match &*state.readiness.borrow() {
            Readiness::Ready => page(StatusCode::OK, TEXT, "ready\n".to_owned()),
            Readiness::NotReady(reason) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n")),
        },
        "/metrics" => page(StatusCode::OK, PROMETHEUS, state.metrics.render()),
        _ => page(StatusCode::NOT_FOUND, TEXT, "try /live, /ready or /metrics\n".to_owned()),
    }
}

fn page(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    struct Served {
        address: SocketAddr,
        readiness: watch::Sender<Readiness>,
        metrics: Metrics,
        stop: CancellationToken,
        tasks: JoinSet<()>,
    }

    async fn served() -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (readiness, watched) = watch::channel(Readiness::NotReady("the hub is starting".to_owned()));
        let (metrics, stop) = (Metrics::default(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, HealthState::new(watched, metrics.clone()), stop.clone()));
        Served { address, readiness, metrics, stop, tasks }
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(served: &Served, path: &str) -> String {
        ask(served.address, &format!("GET {path} HTTP/1.1\r\nHost: hub\r\n\r\n")).await
    }

    #[tokio::test]
    async fn readiness_follows_the_hub_and_says_why_not() {
        let served = served().await;
        let before = get(&served, "/ready").await;
        assert!(before.starts_with("HTTP/1.1 503 "), "{before}");
        assert!(before.ends_with("the hub is starting\n"), "{before}");
        served.readiness.send_replace(Readiness::Ready);
        assert!(get(&served, "/ready").await.starts_with("HTTP/1.1 200 "));
        served.readiness.send_replace(Readiness::stopping());
        assert!(get(&served, "/ready").await.starts_with("HTTP/1.1 503 "));
        assert!(get(&served, "/live").await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn metrics_come_in_the_format_of_prometheus() {
        let served = served().await;
        served.metrics.appended(3, 0);
        let page = get(&served, "/metrics").await;
        assert!(page.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{page}");
        assert!(page.contains("\neventflow_events_appended_total 3\n"), "{page}");
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let served = served().await;
        assert!(get(&served, "/").await.starts_with("HTTP/1.1 404 "));
        let post = ask(served.address, "POST /live HTTP/1.1\r\nHost: hub\r\nContent-Length: 0\r\n\r\n").await;
        assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
        let long = format!("GET /{} HTTP/1.1\r\nHost: hub\r\n\r\n", "x".repeat(2 * REQUEST_BYTES_MAX));
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        // The server may hang up before it has read all.
        stream.write_all(long.as_bytes()).await.ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        assert!(!answer.starts_with(b"HTTP/1.1 2"));
    }

    #[tokio::test]
    async fn idle_connections_end_and_others_are_answered_then() {
        let served = served().await;
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            idle.push(TcpStream::connect(served.address).await.unwrap());
        }
        tokio::time::pause();
        assert!(get(&served, "/live").await.starts_with("HTTP/1.1 200 "));
    }

    #[tokio::test]
    async fn a_stop_ends_also_idle_connections() {
        let mut served = served().await;
        let mut idle = TcpStream::connect(served.address).await.unwrap();
        assert!(get(&served, "/live").await.starts_with("HTTP/1.1 200 "));
        served.stop.cancel();
        served.tasks.join_next().await.unwrap().unwrap();
        assert_eq!(idle.read(&mut [0]).await.unwrap_or(0), 0);
    }
}
