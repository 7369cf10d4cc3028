//! The metrics as OpenMetrics text, which Prometheus reads.
//!
//! Thousands of clients have hundreds of thousands of lines. The labels of a thing are made text once, and lines are put
//! together from such parts. A test compares them with those of the crate prometheus-client, which makes the text of each
//! label anew for each line.

use crate::admin::response::{PageResponse, respond};
use crate::telemetry::{Distribution, Durations, GroupSeries, Registry, SumTable, Total};
use hyper::StatusCode;
use std::collections::BTreeMap;

const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The prefix of every name.
const PREFIX: &str = "signpost_";

/// The bytes that a line has at most beside its name and its labels, unless its number is large:
/// `_bucket{le="0.00025",` and `,kind="not_sent"} 1000000`.
const REST: usize = 48;

/// Answers `/admin/metrics/prometheus`.
pub(in crate::admin) fn openmetrics(registry: &Registry) -> PageResponse {
    respond(StatusCode::OK, MEDIA_TYPE, exposition(&registry.sums()))
}

/// Returns all series in the text format of OpenMetrics 1.0.0.
pub(super) fn exposition(tables: &[SumTable]) -> String {
    let labels: Vec<_> = tables.iter().map(row_labels).collect();
    let mut families = BTreeMap::<_, Vec<_>>::new();
    for (table, labels) in tables.iter().zip(&labels) {
        for (at, series) in table.columns.iter().enumerate() {
            families.entry(series.name).or_default().push(Column { series, table, at, labels });
        }
    }
    let bounds = bound_labels();
    let mut text = String::new();
    text.reserve(families.values().flatten().map(|column| column.expected_length(bounds.len())).sum());
    families.values().for_each(|columns| write_family(&mut text, columns, &bounds));
    text.push_str("# EOF\n");
    text
}

/// The series of one name in a table, or of those one kind.
struct Column<'a> {
    series: &'a GroupSeries,
    table: &'a SumTable,
    /// Its place in the table.
    at: usize,
    /// The labels of the table's rows.
    labels: &'a [String],
}

impl Column<'_> {
    /// Returns the sums that are there, each with its labels.
    fn sums(&self) -> impl Iterator<Item = (&str, &Total)> {
        let rows = self.table.rows.iter().zip(self.labels);
        rows.filter_map(|(row, labels)| Some((labels.as_str(), row.totals.get(self.at)?)))
    }

    /// Returns about how long its lines are, not less as a rule.
    fn expected_length(&self, bounds: usize) -> usize {
        let Some((_, total)) = self.sums().next() else { return 0 };
        let lines = if matches!(total, Total::Durations(_)) { bounds + 2 } else { 1 };
        let name = PREFIX.len() + self.series.name.len() + REST;
        lines * self.labels.iter().map(|labels| name + labels.len()).sum::<usize>()
    }
}

/// Writes the series of one name, if there are any.
fn write_family(text: &mut String, columns: &[Column<'_>], bounds: &[String]) {
    let first = columns.iter().find_map(|column| Some((column.series, column.sums().next()?.1)));
    let Some((GroupSeries { name, meaning, .. }, total)) = first else { return };
    let (kind, unit) = match total {
        Total::Counter(_) => ("counter", ""),
        Total::Gauge(_) => ("gauge", ""),
        Total::Durations(_) => ("histogram", "_seconds"),
    };
    let name = format!("{PREFIX}{name}{unit}");
    text.extend(["# HELP ", &name, " ", meaning, "\n# TYPE ", &name, " ", kind, "\n"]);
    if !unit.is_empty() {
        text.extend(["# UNIT ", &name, " seconds\n"]);
    }
    let with = |suffix| format!("{name}_{suffix}");
    let (counter, parts) = (with("total"), ["sum", "count", "bucket"].map(with));
    for column in columns {
        let kind = column.series.kind.map(|kind| label("kind", kind)).unwrap_or_default();
        for (labels, total) in column.sums() {
            match total {
                Total::Counter(count) => write_line(text, &counter, ["", labels, &kind], *count),
                Total::Gauge(count) => write_line(text, &name, ["", labels, &kind], *count),
                Total::Durations(all) => write_histogram(text, &parts, bounds, [labels, &kind], all),
            }
        }
    }
}

/// Writes the lines of a histogram: its sum, how many durations there are, and how many of them each bound is above.
fn write_histogram(
    text: &mut String,
    [sum, count, bucket]: &[String; 3],
    bounds: &[String],
    [labels, kind]: [&str; 2],
    all: &Distribution,
) {
    write_series(text, sum, ["", labels, kind]);
    text.extend([&*decimal(all.sum.as_secs_f64()), "\n"]);
    write_line(text, count, ["", labels, kind], all.count());
    let mut below = 0;
    for (bound, more) in bounds.iter().zip(all.counts) {
        below += more;
        write_line(text, bucket, [bound, labels, kind], below);
    }
}

/// Writes the line of a series.
fn write_line(text: &mut String, name: &str, labels: [&str; 3], number: impl itoa::Integer) {
    write_series(text, name, labels);
    text.push_str(itoa::Buffer::new().format(number));
    text.push('\n');
}

/// Writes the name of a series, its labels without those that are empty, and a blank.
fn write_series(text: &mut String, name: &str, labels: [&str; 3]) {
    text.push_str(name);
    text.push('{');
    let mut between = "";
    for label in labels.into_iter().filter(|label| !label.is_empty()) {
        text.push_str(between);
        text.push_str(label);
        between = ",";
    }
    text.push_str("} ");
}

/// Returns the labels of each row: `router="outgoing",client="/#/io.l5d.fs/world"`.
fn row_labels(table: &SumTable) -> Vec<String> {
    let text = |labels: &[(&str, String)]| {
        let labels: Vec<_> = labels.iter().map(|(name, value)| label(name, value)).collect();
        labels.join(",")
    };
    table.rows.iter().map(|row| text(&row.labels)).collect()
}

/// Returns the label of each bucket: `le="0.0001"`.
fn bound_labels() -> Vec<String> {
    let bounds = Durations::BOUNDS.iter().map(|bound| decimal(bound.as_secs_f64()));
    bounds.chain(["+Inf".to_owned()]).map(|bound| label("le", &bound)).collect()
}

/// Returns a label as text, its value escaped.
fn label(name: &str, value: &str) -> String {
    let mut text = format!("{name}=\"");
    for char in value.chars() {
        if matches!(char, '\\' | '"' | '\n') {
            text.push('\\');
        }
        text.push(if char == '\n' { 'n' } else { char });
    }
    text.push('"');
    text
}

/// Returns a number that has a point, or is no number.
pub(super) fn decimal(number: f64) -> String {
    let text = number.to_string();
    if text.contains('.') { text } else { text + ".0" }
}
