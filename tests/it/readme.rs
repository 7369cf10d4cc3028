//! What the README shows can be used as it stands.

use signpost::config;
use signpost::context::{Config, Context, Peer, Policy, Trust, decode_overrides};
use signpost::message::{Head, HeadLimits};
use signpost::name::Dtab;

const README: &str = include_str!("../../README.md");

/// The configuration in the code block that follows the mark "<!-- example configuration -->".
fn example() -> &'static str {
    let (_, marked) = README.split_once("<!-- example configuration -->\n```yaml\n").unwrap();
    marked.split_once("```").unwrap().0
}

#[test]
fn the_example_configuration_is_read_as_the_text_says() {
    let config = config::read("README.md", example()).unwrap();
    let routers: Vec<_> =
        config.routers.iter().map(|router| (router.label.as_str(), &router.servers[0].trust)).collect();
    assert_eq!(routers, [("ingress", &Trust::Nobody), ("outgoing", &Trust::Loopback)]);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

/// Each line of the table of names is what the line above becomes under the example's second dtab.
#[test]
fn the_steps_of_a_name_are_those_of_the_dtab() {
    let config = config::read("README.md", example()).unwrap();
    let (_, steps) = README.split_once("| step | because of |\n|---|---|\n").unwrap();
    let rows = steps.lines().map_while(|row| row.strip_prefix("| `"));
    let rows: Vec<_> = rows.map(|row| row.split_once("` | ").unwrap()).collect();
    assert_eq!(rows.len(), 4);
    for pair in rows.windows(2) {
        let (_, dentry, residual) =
            config.routers[1].dtab.matches(&pair[0].0.parse().unwrap()).next().unwrap();
        assert_eq!(dentry.dst.map(&mut |path| path.concat(&residual)), pair[1].0.parse().unwrap());
        assert_eq!(pair[1].1, format!("`{} => {}` |", dentry.prefix, dentry.dst));
    }
}

#[test]
fn the_overrides_are_dtabs() {
    let shown = README.split("`l5d-dtab: ").skip(1).map(|rest| rest.split_once('`').unwrap().0);
    let shown: Vec<_> = shown.map(|text| text.replace("\\|", "|")).collect();
    assert_eq!(shown.len(), 5);
    for text in shown {
        assert_eq!(text.parse::<Dtab>().unwrap().len(), 1, "{text}");
    }
}

/// The header that is shown for callers that have only baggage carries the override of the first row.
#[test]
fn the_baggage_is_an_override() {
    let (_, shown) = README.split_once("curl -H 'Host: www.hello.world' -H 'baggage: ").unwrap();
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

/// Each block of configuration in the chapter about TLS is read as it stands.
#[test]
fn the_configurations_of_tls_are_right() {
    let chapter = include_str!("../../docs/tls.md");
    let blocks: Vec<_> =
        chapter.split("```yaml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert_eq!(blocks.len(), 6);
    for block in blocks {
        config::read("docs/tls.md", block).unwrap_or_else(|errors| panic!("{errors}\n{block}"));
    }
}
