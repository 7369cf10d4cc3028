//! What the README shows can be used as it stands.

use signpost::config;
use signpost::context::Trust;
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
    assert_eq!(routers, [("ingress", &Trust::Nobody), ("outgoing", &Trust::Everybody)]);
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
