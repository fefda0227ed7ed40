//! What went wrong outside, in the words a guest understands. Owns the translation; must never tell a guest more than its own request brought about.

use std::{error::Error as StdError, io};

use hyper_util::client::legacy;
use rustls::AlertDescription;
use wasmtime_wasi_http::Error;

use super::connector::ConnectError;

/// No response began.
pub(super) fn of_request(error: &legacy::Error) -> Error {
    if let Some(error) = find::<ConnectError>(error) {
        return of_connect(error);
    }
    match find::<hyper::Error>(error) {
        Some(error) => of_body(error),
        None => Error::ConnectionTerminated,
    }
}

/// A connection or a body broke.
pub(super) fn of_body(error: &hyper::Error) -> Error {
    if error.is_timeout() {
        Error::HttpResponseTimeout
    } else if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(None)
    } else if error.is_parse() || error.is_parse_status() {
        Error::HttpProtocolError
    } else if error.is_incomplete_message() {
        Error::HttpResponseIncomplete
    } else if error.is_user() {
        // Of the things a client can do wrong, only its body is the guest's: it ended in an error.
        Error::InternalError(Some("the request's body broke off".into()))
    } else {
        Error::ConnectionTerminated
    }
}

/// There is no connection. What was denied looks the same whether a rule or an address stood in the way.
pub(super) fn of_connect(error: &ConnectError) -> Error {
    match error {
        ConnectError::Denied(_) => Error::HttpRequestDenied,
        ConnectError::Lookup(_) => Error::DnsError { rcode: None, info_code: None },
        ConnectError::LookupTimeout => Error::DnsTimeout,
        ConnectError::NoAddress => Error::DestinationNotFound,
        ConnectError::Limit => Error::ConnectionLimitReached,
        ConnectError::Timeout => Error::ConnectionTimeout,
        ConnectError::Connect(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => Error::DestinationIpUnroutable,
            io::ErrorKind::TimedOut => Error::ConnectionTimeout,
            io::ErrorKind::ConnectionReset => Error::ConnectionTerminated,
            _ => Error::DestinationUnavailable,
        },
        ConnectError::Tls(error) => of_tls(error),
        ConnectError::NoTls(_) => Error::ConfigurationError,
        ConnectError::Ended => Error::InternalError(None),
    }
}

fn of_tls(error: &io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => Error::TlsCertificateError,
        Some(rustls::Error::AlertReceived(alert)) => {
            Error::TlsAlertReceived { alert_id: Some(u8::from(*alert)), alert_message: Some(words(*alert)) }
        }
        Some(_) => Error::TlsProtocolError,
        None if error.kind() == io::ErrorKind::UnexpectedEof => Error::ConnectionTerminated,
        None => Error::TlsProtocolError,
    }
}

fn words(alert: AlertDescription) -> String {
    format!("{alert:?}")
}

/// The first cause of the type.
pub(super) fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
