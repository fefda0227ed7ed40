//! The task that owns a channel's connection. Owns connecting, once for all who wait, and the pauses between failed attempts; must never hold a request.

use std::{sync::Arc, time::Duration};

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::AsyncBufReadExt,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{Ask, Body, ChannelConfig};
use crate::{
    dial::DialError,
    limits::{RECONNECT_MAX, RECONNECT_MIN},
    tls::{self, Protocol, Stream},
};

/// Serves whoever asks until nobody can ask any more.
pub(super) async fn own(config: ChannelConfig, mut asks: mpsc::Receiver<Ask>) {
    let mut current: Option<SendRequest<Body>> = None;
    // Earlier connections end when their last answer is through.
    let mut connections = JoinSet::new();
    let mut pause = Pause::new(Instant::now());
    loop {
        let ask = tokio::select! {
            Some(_) = connections.join_next() => continue,
            ask = asks.recv() => ask,
        };
        let Some(ask) = ask else { return };
        if let Some(open) = current.as_ref().filter(|open| !open.is_closed()) {
            // Who asked may have given up.
            let _ = ask.send(Ok(open.clone()));
            continue;
        }
        sleep_until(pause.next).await;
        if ask.is_closed() {
            continue;
        }
        pause.begin(Instant::now());
        match connect(&config, &mut connections).await {
            Ok(open) => {
                pause.reset();
                current = Some(open.clone());
                let _ = ask.send(Ok(open));
            }
            Err(error) => {
                let error = Arc::new(error);
                tracing::debug!(to = config.to, error = &*error as &dyn std::error::Error, "cannot connect");
                let _ = ask.send(Err(error.clone()));
                // Whoever asked while it was tried has the same answer, rather than an attempt each.
                while let Ok(ask) = asks.try_recv() {
                    let _ = ask.send(Err(error.clone()));
                }
            }
        }
    }
}

async fn connect(config: &ChannelConfig, connections: &mut JoinSet<()>) -> Result<SendRequest<Body>, DialError> {
    let within = config.dialer.connect_max;
    let late = |_| DialError::Late { to: config.to.clone(), within };
    let stream = timeout(within, dial(config)).await.map_err(late)??;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).keep_alive_interval(config.ping_every).keep_alive_timeout(config.ping_max).keep_alive_while_idle(true);
    let left = |error| DialError::Left { to: config.to.clone(), source: std::io::Error::other(error) };
    let (sender, connection) = builder.handshake::<_, Body>(TokioIo::new(stream)).await.map_err(left)?;
    let to = config.to.clone();
    connections.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(to, error = &error as &dyn std::error::Error, "a connection ended with an error");
        }
    });
    Ok(sender)
}

/// A connection whose other side has taken us: with TLS 1.3 we are done before it has looked at our certificate, but what it says first comes after.
async fn dial(config: &ChannelConfig) -> Result<Stream, DialError> {
    let (mut stream, _) = config.dialer.dial(&config.to, config.expected, Protocol::Http2).await?;
    let to = config.to.clone();
    match stream.fill_buf().await {
        Ok([]) => Err(DialError::Left { to, source: std::io::ErrorKind::UnexpectedEof.into() }),
        Ok(_) => Ok(stream),
        Err(source) => Err(match tls::alert_in(&source) {
            Some(alert) => DialError::RefusedUs { to, alert },
            None => DialError::Left { to, source },
        }),
    }
}

/// When the next attempt may be.
struct Pause {
    next: Instant,
    length: Duration,
}

impl Pause {
    fn new(now: Instant) -> Self {
        Self { next: now, length: RECONNECT_MIN }
    }

    /// An attempt begins: if it fails, the next one is not before this pause, and the one after that waits twice as long.
    fn begin(&mut self, now: Instant) {
        self.next = now + self.length;
        self.length = (self.length * 2).min(RECONNECT_MAX);
    }

    fn reset(&mut self) {
        self.length = RECONNECT_MIN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit() {
        let start = Instant::now();
        let mut pause = Pause::new(start);
        let mut waits = Vec::new();
        for _ in 0..7 {
            pause.begin(start);
            waits.push((pause.next - start).as_millis());
        }
        assert_eq!(waits, [20, 40, 80, 160, 320, 500, 500]);
        pause.reset();
        pause.begin(start);
        assert_eq!((pause.next - start).as_millis(), 20);
    }
}
