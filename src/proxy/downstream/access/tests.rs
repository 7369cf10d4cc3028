use super::*;
use crate::proxy::metrics::Counters;
use serde_json::Value;

/// An observer that does nothing. The record reads a length only when it has an observer.
struct Blank;

impl Observer for Blank {
    fn traced(&mut self, _: &Trace) {}
    fn numbered(&mut self, _: &[u8]) {}
    fn named(&mut self, _: &PathBuf) {}
    fn bound(&mut self, _: &str) {}
    fn failed(&mut self, _: &Error) {}
    fn ended(&mut self, _: &Record) {}
}

/// The record of a request that was answered with 200 and three of five bytes.
fn answered() -> Record {
    let mut record = Record::new(&Rc::<Counters>::default(), Some(Box::new(Blank)));
    let mut head = Head::new();
    head.set_status(200);
    head.set_content_length(5);
    record.note_response(&head);
    record.add_sent(3);
    record.complete();
    record
}

fn peer(remote: &str) -> Peer {
    Peer::new(remote.parse().unwrap(), "127.0.0.1:80".parse().unwrap())
}

fn line(facts: &RequestFacts<'_>, record: &Record) -> String {
    String::from_utf8(linkerd::LinkerdDraft::begin(facts, &peer("10.0.0.1:5000")).end(record)).unwrap()
}

fn object(facts: &RequestFacts<'_>) -> Value {
    let labels = ListenerLabels { router: "in", server: "127.0.0.1/80" };
    let line = json::JsonDraft::begin(facts, &peer("10.0.0.1:5000"), labels).end(&answered());
    let (end, json) = line.split_last().unwrap();
    assert_eq!((*end, json.contains(&b'\n')), (b'\n', false), "one line");
    serde_json::from_slice(json).unwrap()
}

fn agent(value: &[u8]) -> RequestFacts<'_> {
    RequestFacts { user_agent: Some(value), ..RequestFacts::default() }
}

#[test]
fn an_unknown_value_is_a_hyphen() {
    let line = line(&RequestFacts::default(), &Record::new(&Rc::<Counters>::default(), None));
    let (before, after) = (line.split(" [").next().unwrap(), line.split("] ").nth(1).unwrap());
    assert_eq!((before, after), ("- 10.0.0.1 - -", "\"- - -\" 499 - \"-\" \"-\"\n"));
}

#[test]
fn an_ipv4_peer_mapped_to_ipv6_is_shown_as_ipv4() {
    let line =
        linkerd::LinkerdDraft::begin(&RequestFacts::default(), &peer("[::ffff:10.0.0.2]:1")).end(&answered());
    assert!(line.starts_with(b"- 10.0.0.2 - - ["));
}

#[test]
fn no_value_ends_itself_or_the_line() {
    let forged: &[u8] = b"x\" 200\r\n\\evil \x1b[2J\x9b\x7f\xc3\xa9\0";
    let shown = r#""x\" 200\x0d\x0a\\evil \x1b[2J\x9b\x7f\xc3\xa9\x00""#;
    assert!(line(&agent(forged), &answered()).ends_with(&format!(" {shown}\n")));
    assert_eq!(object(&agent(forged))["user_agent"], "x\" 200\r\n\\evil \x1b[2J\u{fffd}\x7fé\0");
    // Outside of quotes, a space would end the value.
    let facts = RequestFacts {
        host: Some(b"a - -"),
        method: Some(b"G T"),
        target: Some(b"/ b"),
        ..RequestFacts::default()
    };
    let line = line(&facts, &answered());
    assert!(line.starts_with("a\\x20-\\x20- 10.0.0.1 - - ["), "{line}");
    assert!(line.contains("\"G\\x20T / b -\""), "{line}");
}

#[test]
fn values_are_cut() {
    let long = vec![b'a'; MOST_OF_VALUE + 1];
    let shown = "a".repeat(MOST_OF_VALUE);
    for (value, rest) in [(&long[1..], ""), (&long[..], "...")] {
        assert!(line(&agent(value), &answered()).ends_with(&format!(" \"{shown}{rest}\"\n")));
        assert_eq!(object(&agent(value))["user_agent"], format!("{shown}{rest}"));
    }
    let odd = vec![0; 1 << 20];
    let facts = RequestFacts { host: Some(&odd), target: Some(&odd), ..RequestFacts::default() };
    assert!(line(&facts, &answered()).len() < 10 * MOST_OF_VALUE);
}

#[test]
fn an_object_has_only_known_fields() {
    let facts = RequestFacts { host: Some(b"a"), method: Some(b"GET"), ..RequestFacts::default() };
    let mut object = object(&facts);
    let time = object["time"].take();
    assert!(time.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{time}");
    let duration = object["duration_ms"].take();
    assert!(duration.as_f64().is_some_and(|duration| duration >= 0.0), "{duration}");
    let expected = serde_json::json!({
        "time": null, "router": "in", "server": "127.0.0.1/80", "peer": "10.0.0.1:5000",
        "method": "GET", "authority": "a",
        "status": 200, "bytes": 3, "duration_ms": null, "complete": true,
        "outcome": "success",
    });
    assert_eq!(object, expected);
}
