//! What callers ask for and how they speak, as one part tells another on its command line.

use super::child::Error;
use std::fmt;
use std::str::FromStr;

/// What the body of the stable version consists of, and that of the one an override leads to.
pub(crate) const STABLE: u8 = b'1';
pub(crate) const STAGED: u8 = b'2';

/// How a connection is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// Without TLS, by prior knowledge.
    Http2,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }
}

impl FromStr for Protocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let protocol = [Self::Http1, Self::Http2].into_iter().find(|protocol| protocol.name() == text);
        protocol.ok_or_else(|| format!("unknown protocol: {text}").into())
    }
}

/// One request and its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// The bytes of the response's body.
    pub(crate) response: usize,
    /// The bytes of the request's body.
    pub(crate) upload: usize,
    /// Whether the service's other version is asked for, by an override of 30 bytes.
    pub(crate) overriding: bool,
}

impl Exchange {
    pub(crate) const fn get(response: usize) -> Self {
        Self { response, upload: 0, overriding: false }
    }

    pub(crate) const fn post(upload: usize) -> Self {
        Self { response: 1024, upload, overriding: false }
    }

    pub(crate) const fn overriding(self) -> Self {
        Self { overriding: true, ..self }
    }

    pub(crate) fn method(self) -> &'static str {
        if self.upload == 0 { "GET" } else { "POST" }
    }

    /// Where it is asked for: the path says how much is answered.
    pub(crate) fn path(self) -> String {
        format!("/bytes/{}", self.response)
    }

    /// The fields of the request, beside those of its protocol.
    pub(crate) fn fields(self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("user-agent", "loopback"), ("accept", "*/*"), ("accept-encoding", "gzip")];
        if self.overriding {
            fields.push(("l5d-dtab", "/host/world => /srv/world-v2;"));
        }
        let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        if self.upload > 0 {
            fields.push(("content-length", self.upload.to_string()));
        }
        fields
    }

    /// What the answer's body consists of.
    pub(crate) fn version(self) -> u8 {
        if self.overriding { STAGED } else { STABLE }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.response, self.upload, self.overriding)
    }
}

impl FromStr for Exchange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split(':').collect::<Vec<_>>()[..] {
            [response, upload, overriding] => Ok(Self {
                response: response.parse()?,
                upload: upload.parse()?,
                overriding: overriding.parse()?,
            }),
            _ => Err(format!("unknown exchange: {text}").into()),
        }
    }
}

/// How much a path asks for.
pub(crate) fn asked(path: &str) -> Result<usize, Error> {
    Ok(path.strip_prefix("/bytes/").ok_or("an unknown path")?.parse()?)
}
