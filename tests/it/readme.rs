//! The README and the pages of the book can be used as they stand.

use crate::book;
use signpost::config;
use signpost::context::{Config, Context, Peer, Policy, Trust, decode_overrides};
use signpost::message::{Head, HeadLimits};
use signpost::name::Dtab;

const README: &str = include_str!("../../README.md");
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");
const DTABS: &str = include_str!("../../docs/dtabs.md");
const OVERRIDES: &str = include_str!("../../docs/overrides.md");

/// The configuration in the code block that follows the mark "<!-- example configuration -->".
fn example() -> &'static str {
    let (_, marked) = CONFIGURATION.split_once("<!-- example configuration -->\n```yaml\n").unwrap();
    marked.split_once("```").unwrap().0
}

#[test]
fn the_example_configuration_is_read_as_the_text_says() {
    let config = config::read("docs/configuration.md", example()).unwrap();
    let routers: Vec<_> =
        config.routers.iter().map(|router| (router.label.as_str(), &router.servers[0].trust)).collect();
    assert_eq!(routers, [("ingress", &Trust::Nobody), ("outgoing", &Trust::Loopback)]);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

/// Each line of the table of names is what the line above becomes under the dtab of the page, which is that of the example.
#[test]
fn the_steps_of_a_name_are_those_of_the_dtab() {
    let config = config::read("docs/configuration.md", example()).unwrap();
    for page in [README, DTABS] {
        let (_, shown) = page.split_once("```dtab\n").unwrap();
        let dtab: Dtab = shown.split_once("```").unwrap().0.parse().unwrap();
        assert_eq!(dtab, config.routers[1].dtab);
        let (_, steps) = page.split_once("| step | because of |\n|---|---|\n").unwrap();
        let rows = steps.lines().map_while(|row| row.strip_prefix("| `"));
        let rows: Vec<_> = rows.map(|row| row.split_once("` | ").unwrap()).collect();
        assert_eq!(rows.len(), 4);
        for pair in rows.windows(2) {
            let (_, dentry, residual) = dtab.matches(&pair[0].0.parse().unwrap()).next().unwrap();
            assert_eq!(dentry.dst.map(&mut |path| path.concat(&residual)), pair[1].0.parse().unwrap());
            assert_eq!(pair[1].1, format!("`{} => {}` |", dentry.prefix, dentry.dst));
        }
    }
}

#[test]
fn the_overrides_are_dtabs() {
    for (page, rows) in [(OVERRIDES, 5), (README, 1)] {
        let shown = page.split("`l5d-dtab: ").skip(1).map(|rest| rest.split_once('`').unwrap().0);
        let shown: Vec<_> = shown.map(|text| text.replace("\\|", "|")).collect();
        assert_eq!(shown.len(), rows);
        for text in shown {
            assert_eq!(text.parse::<Dtab>().unwrap().len(), 1, "{text}");
        }
    }
}

/// Each header `l5d-dtab` of a command is a dtab, but for the mistakes that are made on purpose.
#[test]
fn the_overrides_of_commands_are_dtabs() {
    let mut read = 0;
    for page in book::pages() {
        for (_, rest) in
            page.text.match_indices("-H 'l5d-dtab: ").map(|(at, mark)| page.text.split_at(at + mark.len()))
        {
            let text = rest.split_once('\'').unwrap().0;
            // An ellipsis stands for the rest of an entry.
            if text.contains("...") {
                continue;
            }
            let parsed = text.parse::<Dtab>();
            assert_eq!(
                parsed.is_ok(),
                !["/host/world = /srv/world-v2;", "?"].contains(&text),
                "{}: {text}",
                page.path
            );
            read += 1;
        }
    }
    assert!(read >= 3, "{read}");
}

/// The header that is shown for callers that have only baggage carries the override of the first row.
#[test]
fn the_baggage_is_an_override() {
    for page in [README, OVERRIDES] {
        let (_, shown) = page.split_once("curl -H 'Host: www.hello.world' -H 'baggage: ").unwrap();
        let request = format!("GET / HTTP/1.1\r\nbaggage: {}\r\n\r\n", shown.split_once('\'').unwrap().0);
        let mut head = Head::new();
        let limits = HeadLimits { line: 1000, fields_bytes: 1000, fields: 10 };
        assert_eq!(head.parse_request(request.as_bytes(), &limits), Ok(Some(request.len())));
        let policy = Policy::new(Config { trust: Trust::Everybody, ..Config::default() });
        let (here, mut context) = ("127.0.0.1:4140".parse().unwrap(), Context::new());
        policy.enter(&Peer::new(here, here), &mut head, &mut context).1.unwrap();
        let overrides = decode_overrides(context.overrides(), policy.override_limits()).unwrap();
        assert_eq!(overrides.dtab, "/host/world => /srv/world-v2".parse().unwrap());
    }
}
