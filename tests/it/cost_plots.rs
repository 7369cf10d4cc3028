//! The plots of `docs/cost.md`: drawn from the tables of `benches/README.md`, so that they show what the tables say.

use crate::book::root;
use std::fmt::Write as _;
use std::{env, fs};

/// The sizes of a plot, in pixels.
const WIDTH: f64 = 720.0;
const MARGIN: f64 = 16.0;
const BAR: f64 = 12.0;
/// The widest bar: its value stands behind it.
const BARS: f64 = WIDTH - 2.0 * MARGIN - 80.0;

/// Blue and orange, which are told apart by those who do not see red and green.
const COLOURS: [&str; 2] = ["#4477aa", "#ee7733"];

/// A plot of bars, one or more for each row of a table.
struct Plot {
    /// Its file in `docs/cost`.
    file: &'static str,
    title: &'static str,
    unit: &'static str,
    /// The first cells of the table's head.
    table: &'static str,
    /// The beginning of the rows that are shown; every row, when it is empty.
    rows: &'static str,
    /// The columns that are shown: their number, the place of the value among several in a cell, and their name.
    columns: &'static [(usize, usize, &'static str)],
}

const PLOTS: [Plot; 4] = [
    Plot {
        file: "cpu.svg",
        title: "CPU time of a request with 1 KiB",
        unit: "us",
        table: "| caller to upstream, body |",
        rows: "1 KiB",
        columns: &[(2, 0, "pass-through"), (3, 0, "signpost")],
    },
    Plot {
        file: "shares.svg",
        title: "Where the CPU time of a request over HTTP/1 goes",
        unit: "%",
        table: "| where | share |",
        rows: "",
        columns: &[(1, 0, "share")],
    },
    Plot {
        file: "connections.svg",
        title: "Memory of an idle connection",
        unit: "bytes",
        table: "| | pass-through | signpost | aim |",
        rows: "idle connections",
        columns: &[(1, 0, "pass-through"), (2, 0, "signpost")],
    },
    Plot {
        file: "hostile.svg",
        title: "p99 of a customer beside a hostile load",
        unit: "ms",
        table: "| load | done | customer failed |",
        rows: "",
        columns: &[(3, 1, "quiet"), (4, 1, "under the load")],
    },
];

/// A row of a plot: what it is about, and a value for each column, as the table has it.
#[derive(Debug, PartialEq)]
struct Row<'a> {
    label: String,
    values: Vec<&'a str>,
}

fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split(" | ").map(str::trim).collect()
}

/// The lines of a table, without its head.
fn table<'a>(text: &'a str, head: &str) -> impl Iterator<Item = Vec<&'a str>> {
    let (_, rest) = text.split_once(&format!("\n{head}")).unwrap_or_else(|| panic!("no table has {head}"));
    rest.lines().skip(2).take_while(|line| line.starts_with('|')).map(cells)
}

/// The number in a value: 1571 of `1,571 bytes`, and 1 of `under 1 %`.
fn number(value: &str) -> f64 {
    let digits = value.trim_start_matches("under ").replace(',', "");
    let end = digits.find(|sign: char| !sign.is_ascii_digit() && sign != '.').unwrap_or(digits.len());
    digits[..end].parse().unwrap_or_else(|_| panic!("{value} is no number"))
}

impl Plot {
    fn read<'a>(&self, text: &'a str) -> Vec<Row<'a>> {
        let (mut is_shown, mut rows) = (false, Vec::new());
        for cells in table(text, self.table) {
            // "the same" is about the row above it.
            is_shown = cells[0].contains(self.rows) || cells[0].starts_with("the same") && is_shown;
            if is_shown {
                let value = |(column, place, _): &(usize, usize, _)| {
                    cells[*column].split(", ").nth(*place).expect("the cell has as many values")
                };
                let values = self.columns.iter().map(value).collect();
                rows.push(Row { label: cells[0].replace('`', ""), values });
            }
        }
        assert!(rows.len() > 1, "{}: the table has too few rows", self.file);
        rows
    }

    fn draw(&self, rows: &[Row<'_>]) -> String {
        let height_of_row = 22.0 + BAR * self.columns.len() as f64 + 8.0;
        // One column needs no words about colours.
        let head = if self.columns.len() > 1 { 56.0 } else { 34.0 };
        let height = head + 8.0 + height_of_row * rows.len() as f64;
        let most = rows.iter().flat_map(|row| &row.values).map(|value| number(value)).fold(0.0, f64::max);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n\
             <desc>Drawn by UPDATE_PLOTS=1 cargo test --test it cost_plots, from benches/README.md.</desc>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"{MARGIN}\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{}, in {}</text>\n",
            escaped(self.title),
            self.unit
        );
        if self.columns.len() > 1 {
            self.write_legend(&mut svg);
        }
        for (at, row) in rows.iter().enumerate() {
            row.write(&mut svg, head + height_of_row * at as f64, most);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn write_legend(&self, svg: &mut String) {
        for (at, (_, _, name)) in self.columns.iter().enumerate() {
            let x = MARGIN + 130.0 * at as f64;
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"36\" width=\"{BAR}\" height=\"{BAR}\" fill=\"{}\"/>\
                 <text x=\"{}\" y=\"47\">{name}</text>",
                COLOURS[at],
                x + BAR + 6.0
            );
        }
    }
}

impl Row<'_> {
    /// Writes the label and the bars, of which the widest in the plot stands for `most`.
    fn write(&self, svg: &mut String, top: f64, most: f64) {
        let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"{}\">{}</text>", top + 16.0, escaped(&self.label));
        for (at, value) in self.values.iter().enumerate() {
            let y = top + 22.0 + BAR * at as f64;
            let width = BARS * number(value) / most;
            let _ = writeln!(
                svg,
                "<rect x=\"{MARGIN}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{}\" font-size=\"11\">{value}</text>",
                BAR - 2.0,
                COLOURS[at],
                MARGIN + width + 5.0,
                y + 9.0
            );
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_plots_show_the_figures_of_the_benches() {
    let (figures, page) = (read("benches/README.md"), read("docs/cost.md"));
    for plot in &PLOTS {
        let drawn = plot.draw(&plot.read(&figures));
        let path = format!("docs/cost/{}", plot.file);
        if env::var_os("UPDATE_PLOTS").is_some() {
            fs::write(root().join(&path), &drawn).expect("it can be written");
        }
        assert!(
            fs::read_to_string(root().join(&path)).is_ok_and(|there| there == drawn),
            "{path} is behind benches/README.md: run UPDATE_PLOTS=1 cargo test --test it cost_plots"
        );
        assert!(page.contains(&format!("](cost/{})", plot.file)), "docs/cost.md does not show {path}");
    }
}

/// A row of the page's table has the numbers of the row of the same name in the table of the benches.
#[test]
fn the_table_of_requests_is_that_of_the_benches() {
    let (figures, page) = (read("benches/README.md"), read("docs/cost.md"));
    let rows: Vec<_> = table(&figures, "| caller to upstream, body |").collect();
    let mut compared = 0;
    for shown in table(&page, "| caller to upstream, body |") {
        let row = rows.iter().find(|row| row[0] == shown[0]).unwrap_or_else(|| panic!("no row is {shown:?}"));
        let numbers = |cells: &[&str]| (1..4).map(|at| number(cells[at])).collect::<Vec<_>>();
        assert_eq!(numbers(&shown), numbers(row), "{}", shown[0]);
        compared += 1;
    }
    assert!(compared > 3, "{compared}");
}

#[test]
fn a_plot_follows_its_table() {
    let plot = &PLOTS[0];
    let text = "\n| caller to upstream, body | ratio | a | b |\n|---|---|---|---|\n| x, 1 KiB | 0.5 | 1,200 us | 600 us |\n\
        | the same, y | 1 | 0.5 | 2 |\n| z, 1 MiB | 1 | 1 | 1 |\n\nmore";
    let rows = plot.read(text);
    let row =
        |label: &str, values: [&'static str; 2]| Row { label: label.to_owned(), values: values.to_vec() };
    assert_eq!(rows, [row("x, 1 KiB", ["1,200 us", "600 us"]), row("the same, y", ["0.5", "2"])]);
    assert!(plot.draw(&rows).contains(">1,200 us</text>"));
    assert_ne!(plot.draw(&rows), plot.draw(&rows[..1]));
}
