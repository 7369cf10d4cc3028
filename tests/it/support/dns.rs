//! A DNS server on loopback, over UDP and TCP, that says what a test wants.

use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SOA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

/// Aliases in one response, so that a circle of them has an end.
const MAX_ALIASES: usize = 10;

/// A server; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct DnsServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Zone {
    /// By `name. TYPE`.
    said: HashMap<String, Said>,
    /// The zones under which nothing is said.
    silent: Vec<String>,
    /// The queries that came, each as `name. TYPE`, with `tcp` behind it if it came so.
    asked: Vec<String>,
}

#[derive(Clone, Debug)]
enum Said {
    Records(Vec<(u32, RData)>),
    Error(ResponseCode),
    /// Nothing, for ever.
    Silence,
    /// That it is too long for UDP; the records over TCP.
    Truncated(Vec<(u32, RData)>),
}

impl DnsServer {
    /// Starts a server that knows no names.
    pub(crate) async fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has free ports");
            // The same port may be taken for TCP.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("it is bound")).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("it is bound");
        let zone = Arc::new(Mutex::new(Zone::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(over_udp(udp, Arc::clone(&zone)));
        tasks.spawn(over_tcp(tcp, Arc::clone(&zone)));
        Self { address, zone, _tasks: tasks }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes it say something of `name. TYPE`: a time to live in seconds and then records apart by commas
    /// (`60 10.0.0.1, 10.0.0.2`), `truncated` and then such, `SERVFAIL`, `REFUSED`, `silence`, or `nothing` as before.
    ///
    /// A name of which nothing is said does not exist; one with records of other types has none of this type. Both
    /// hold for one second.
    pub(crate) fn says(&self, question: &str, said: &str) {
        let (_, kind) = question.split_once(' ').expect("a name and a type");
        let said = match said {
            "nothing" => None,
            "SERVFAIL" => Some(Said::Error(ResponseCode::ServFail)),
            "REFUSED" => Some(Said::Error(ResponseCode::Refused)),
            "silence" => Some(Said::Silence),
            said => Some(match said.strip_prefix("truncated ") {
                Some(said) => Said::Truncated(records(kind, said)),
                None => Said::Records(records(kind, said)),
            }),
        };
        let mut zone = self.zone.lock().expect("no test panics with it");
        match said {
            Some(said) => zone.said.insert(question.to_owned(), said),
            None => zone.said.remove(question),
        };
    }

    /// Makes it say nothing of any name under a zone, `silent.test.`.
    pub(crate) fn silence(&self, zone: &str) {
        self.zone.lock().expect("no test panics with it").silent.push(zone.to_owned());
    }

    /// The queries that came since this was last called.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.zone.lock().expect("no test panics with it").asked)
    }
}

fn records(kind: &str, said: &str) -> Vec<(u32, RData)> {
    let (life, records) = said.split_once(' ').expect("a time to live and records");
    let life = life.parse().expect("a time to live");
    records.split(", ").map(|record| (life, data(kind, record))).collect()
}

fn data(kind: &str, record: &str) -> RData {
    let name = |text: &str| Name::from_ascii(text).expect("a name");
    match kind {
        "A" => RData::A(A(record.parse().expect("an IPv4 address"))),
        "AAAA" => RData::AAAA(AAAA(record.parse().expect("an IPv6 address"))),
        "CNAME" => RData::CNAME(CNAME(name(record))),
        "SRV" => {
            let mut fields = record.split(' ');
            let mut number = || fields.next().and_then(|field| field.parse().ok()).expect("a number");
            let (priority, weight, port) = (number(), number(), number());
            RData::SRV(SRV::new(priority, weight, port, name(fields.next().expect("a target"))))
        }
        _ => panic!("no records of type {kind} here"),
    }
}

impl Zone {
    /// The response to a query; none to be silent.
    fn respond(&mut self, query: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let query = Message::from_vec(query).ok()?;
        let question = query.queries.first()?.clone();
        let asked = format!("{} {}", question.name().to_ascii().to_ascii_lowercase(), question.query_type());
        let is_silent = self.silent.iter().any(|zone| question.name().to_ascii().ends_with(zone));
        self.asked.push(if tcp { format!("{asked} tcp") } else { asked });
        if is_silent {
            return None;
        }
        let mut response = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        response.metadata.recursion_desired = true;
        response.metadata.recursion_available = true;
        response.queries.push(question.clone());
        self.fill(&mut response, &question, tcp)?;
        response.to_vec().ok()
    }

    fn fill(&self, response: &mut Message, question: &Query, tcp: bool) -> Option<()> {
        let mut name = question.name().clone();
        loop {
            let at = |kind: RecordType| format!("{} {kind}", name.to_ascii().to_ascii_lowercase());
            let said = self.said.get(&at(question.query_type()));
            let said = said.or_else(|| self.said.get(&at(RecordType::CNAME)));
            match said {
                Some(Said::Silence) => return None,
                Some(Said::Error(code)) => response.metadata.response_code = *code,
                Some(Said::Truncated(_)) if !tcp => response.metadata.truncation = true,
                Some(Said::Records(records) | Said::Truncated(records)) => {
                    let record =
                        |(life, data): &(u32, RData)| Record::from_rdata(name.clone(), *life, data.clone());
                    response.answers.extend(records.iter().map(record));
                    if let Some((_, RData::CNAME(target))) = records.first()
                        && question.query_type() != RecordType::CNAME
                        && response.answers.len() < MAX_ALIASES
                    {
                        name = target.0.clone();
                        continue;
                    }
                }
                None => {
                    let prefix = at(RecordType::A).trim_end_matches('A').to_owned();
                    if !self.said.keys().any(|key| key.starts_with(&prefix)) {
                        response.metadata.response_code = ResponseCode::NXDomain;
                    }
                    let soa = SOA::new(Name::root(), Name::root(), 1, 60, 60, 60, 1);
                    response.authorities.push(Record::from_rdata(Name::root(), 1, RData::SOA(soa)));
                }
            }
            return Some(());
        }
    }
}

async fn over_udp(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; 4096];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        let response = zone.lock().expect("no test panics with it").respond(&buffer[..length], false);
        if let Some(response) = response {
            socket.send_to(&response, peer).await.ok();
        }
    }
}

async fn over_tcp(listener: TcpListener, zone: Arc<Mutex<Zone>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(over_connection(stream, Arc::clone(&zone)));
    }
}

async fn over_connection(mut stream: TcpStream, zone: Arc<Mutex<Zone>>) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; length.into()];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        let response = zone.lock().expect("no test panics with it").respond(&query, true);
        let Some(response) = response else { continue };
        let length = u16::try_from(response.len()).expect("a short response");
        let framed = [&length.to_be_bytes()[..], &response].concat();
        if stream.write_all(&framed).await.is_err() {
            return;
        }
    }
}
