//! The state of TLS on one connection, which takes one step at a time and does no input or output.

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};

/// The most bytes in one record (RFC 8446, 5.1).
pub(super) const RECORD: usize = 16 * 1024;

/// The room that is made at once for the records that a side sends in a handshake before it waits: as much as they are, with a
/// short chain of certificates.
const FLIGHT: usize = 2048;

/// The state of TLS on one connection.
pub(super) enum TlsSession {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// An operation for which a session has to take application data.
#[derive(Clone, Copy)]
pub(super) enum SessionOperation<'a> {
    None,
    Encrypt(&'a [u8]),
    Close,
}

/// The result of one step of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionStep {
    /// There may be more to do.
    Again,
    /// The handshake waits for the peer.
    Blocked,
    /// The operation is carried out, and no record is left.
    Done,
    /// The peer sends nothing more.
    PeerClosed,
}

impl TlsSession {
    /// Takes one step with the records that came. Returns how many bytes of them are used up.
    pub(super) fn step(
        &mut self,
        records: &mut [u8],
        plain: &mut Vec<u8>,
        outgoing: &mut Vec<u8>,
        operation: SessionOperation<'_>,
    ) -> (usize, Result<SessionStep, rustls::Error>) {
        match self {
            Self::Client(session) => {
                carry_out(session.process_tls_records(records), plain, outgoing, operation)
            }
            Self::Server(session) => {
                carry_out(session.process_tls_records(records), plain, outgoing, operation)
            }
        }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        match self {
            Self::Client(session) => session.is_handshaking(),
            Self::Server(session) => session.is_handshaking(),
        }
    }

    /// Returns whether records of the session itself wait to be written.
    pub(super) fn wants_write(&self) -> bool {
        match self {
            Self::Client(session) => session.wants_write(),
            Self::Server(session) => session.wants_write(),
        }
    }

    pub(super) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Client(session) => session.alpn_protocol(),
            Self::Server(session) => session.alpn_protocol(),
        }
    }

    pub(super) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        match self {
            Self::Client(session) => session.peer_certificates(),
            Self::Server(session) => session.peer_certificates(),
        }
    }
}

/// Acts on the state of a session.
fn carry_out<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    plain: &mut Vec<u8>,
    outgoing: &mut Vec<u8>,
    operation: SessionOperation<'_>,
) -> (usize, Result<SessionStep, rustls::Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let step = match state {
        Err(error) => return (discard, Err(error)),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    Err(error) => return (discard, Err(error)),
                }
            }
            SessionStep::Again
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => match encode(&mut data, outgoing) {
            Ok(()) => SessionStep::Again,
            Err(error) => return (discard, Err(rustls::Error::General(error.to_string()))),
        },
        Ok(ConnectionState::TransmitTlsData(transmit)) => {
            // It counts as sent: what is outgoing is kept until the socket takes it.
            transmit.done();
            SessionStep::Again
        }
        Ok(ConnectionState::WriteTraffic(mut traffic)) => match write(&mut traffic, outgoing, operation) {
            Ok(()) => SessionStep::Done,
            Err(error) => return (discard, Err(rustls::Error::General(error.to_string()))),
        },
        Ok(ConnectionState::PeerClosed) => SessionStep::PeerClosed,
        Ok(ConnectionState::Closed) => SessionStep::Done,
        // Early data is never asked for, so its state does not come up.
        Ok(_) => SessionStep::Blocked,
    };
    (discard, Ok(step))
}

/// Appends a record of the handshake.
fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, outgoing: &mut Vec<u8>) -> Result<(), EncodeError> {
    if outgoing.is_empty() {
        outgoing.reserve(FLIGHT);
    }
    let begin = outgoing.len();
    // The first answer is the size of the record: room for more would have to be cleared, for each record of a handshake.
    let mut room = 0;
    loop {
        outgoing.resize(begin + room, 0);
        let encoded = data.encode(outgoing.get_mut(begin..).unwrap_or_default());
        outgoing.truncate(begin + encoded.as_ref().copied().unwrap_or_default());
        match encoded {
            Ok(_) => return Ok(()),
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size }))
                if required_size > room =>
            {
                room = required_size;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Appends the records of an operation.
fn write<Data>(
    traffic: &mut WriteTraffic<'_, Data>,
    outgoing: &mut Vec<u8>,
    operation: SessionOperation<'_>,
) -> Result<(), EncryptError> {
    /// More than the head, the tag and the padding of a record have.
    const OVERHEAD: usize = 64;
    let begin = outgoing.len();
    let mut room = match operation {
        SessionOperation::None => return Ok(()),
        SessionOperation::Encrypt(bytes) => bytes.len() + (bytes.len() / RECORD + 1) * OVERHEAD,
        SessionOperation::Close => OVERHEAD,
    };
    loop {
        outgoing.resize(begin + room, 0);
        let into = outgoing.get_mut(begin..).unwrap_or_default();
        let written = match operation {
            SessionOperation::None => Ok(0),
            SessionOperation::Encrypt(bytes) => traffic.encrypt(bytes, into),
            SessionOperation::Close => traffic.queue_close_notify(into),
        };
        outgoing.truncate(begin + written.as_ref().copied().unwrap_or_default());
        match written {
            Ok(_) => return Ok(()),
            Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size }))
                if required_size > room =>
            {
                room = required_size;
            }
            Err(error) => return Err(error),
        }
    }
}
