//! Log lines of several workers as one stream: what is there in order of time, what comes as it comes. Owns the merging; must never keep more than a line of
//! each worker, or the last few that were asked for.

use std::{collections::VecDeque, sync::Arc};

use api::{
    limits::LINE_BYTES_MAX,
    mesh::LOGS_PATH,
    time::Time,
    v1::{LogEntry, LogQuery},
};
use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, future, stream};
use tokio_util::{
    codec::{FramedRead, LinesCodec},
    io::StreamReader,
};

use crate::{api_error::ApiError, core::Core, mesh::Asked, streams::LINES};

/// Lines of one worker.
type Lines = futures_util::stream::BoxStream<'static, String>;

/// What `question` selects, of every worker that answers; the others are told in a line of their own.
///
/// # Errors
/// Nobody answers, or the question is wrong.
pub(crate) async fn gather(core: &Arc<Core>, question: &LogQuery, query: &str) -> Result<Response, ApiError> {
    let workers = core.mesh.workers(&core.state());
    let asked = workers.iter().map(|worker| core.mesh.stream(worker, LOGS_PATH, query));
    let (mut streams, mut missing, mut first_error) = (Vec::new(), Vec::new(), None);
    for (worker, answer) in workers.iter().zip(future::join_all(asked).await) {
        match answer {
            Ok(body) => streams.push(lines(body)),
            Err(error) => {
                missing.push(absence(worker, &error));
                first_error.get_or_insert(error);
            }
        }
    }
    if let (true, Some(error)) = (streams.is_empty(), first_error) {
        return Err(error);
    }
    let merged = if question.follow { stream::select_all(streams).boxed() } else { in_order(streams, question.tail).await };
    let all = stream::iter(missing).chain(merged).take_until(core.stop.clone().cancelled_owned());
    let bytes = all.map(|line| Ok::<_, std::convert::Infallible>(Bytes::from(line + "\n")));
    let mut response = Response::new(Body::from_stream(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(LINES));
    Ok(response)
}

fn absence(worker: &Asked, error: &ApiError) -> String {
    let entry = LogEntry::Absent { node: worker.name.clone(), reason: error.message().to_owned() };
    serde_json::to_string(&entry).expect("wire types have string keys only")
}

/// The lines of one answer; it ends early when the worker breaks off, as it does when it is started again.
fn lines(body: Body) -> Lines {
    let reader = StreamReader::new(body.into_data_stream().map(|piece| piece.map_err(std::io::Error::other)));
    let lines = FramedRead::new(reader, LinesCodec::new_with_max_length(LINE_BYTES_MAX));
    lines.take_while(|line| future::ready(line.is_ok())).filter_map(|line| future::ready(line.ok())).boxed()
}

/// All of them in order of time, or the last `tail` of all.
async fn in_order(mut streams: Vec<Lines>, tail: Option<u32>) -> Lines {
    if streams.len() == 1 {
        return streams.remove(0);
    }
    let mut heads = Vec::new();
    for stream in streams {
        heads.extend(next(stream).await);
    }
    let merged = stream::unfold(heads, |mut heads| async move {
        let earliest = heads.iter().enumerate().min_by_key(|(_, head)| head.at).map(|(place, _)| place)?;
        let Head { line, rest, .. } = heads.remove(earliest);
        if let Some(head) = next(rest).await {
            heads.insert(earliest, head);
        }
        Some((line, heads))
    });
    match tail {
        Some(count) => stream::iter(last(merged, count as usize).await).boxed(),
        None => merged.boxed(),
    }
}

/// A worker's next line, and what follows it.
struct Head {
    at: Option<Time>,
    line: String,
    rest: Lines,
}

async fn next(mut rest: Lines) -> Option<Head> {
    loop {
        let line = rest.next().await?;
        // Empty lines only say that the stream lives.
        if !line.is_empty() {
            return Some(Head { at: moment(&line), line, rest });
        }
    }
}

/// When the line was written; a line without a moment goes before those that have one.
fn moment(line: &str) -> Option<Time> {
    match serde_json::from_str(line).ok()? {
        LogEntry::Line(line) => Some(line.at),
        LogEntry::Access(line) => Some(line.at),
        LogEntry::Dropped { .. } | LogEntry::Absent { .. } => None,
    }
}

async fn last(lines: impl Stream<Item = String>, count: usize) -> VecDeque<String> {
    lines
        .fold(VecDeque::new(), |mut kept, line| {
            kept.push_back(line);
            if kept.len() > count {
                kept.pop_front();
            }
            future::ready(kept)
        })
        .await
}
