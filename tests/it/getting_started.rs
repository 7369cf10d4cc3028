//! "Getting started" works by copy and paste, block by block, from an empty folder.
//!
//! The blocks are run as they stand, on other ports: the system chooses them, so that tests can run side by side.

use crate::book::{self, Block};
use crate::commands::curl;
use crate::support::{Serving, address, signpost, until};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const PAGE: &str = "docs/getting-started.md";

/// A terminal in a folder of its own.
struct Terminal {
    folder: TempDir,
    serving: Vec<Serving>,
    /// The ports of the page, each with the port that stands for it here.
    ports: Vec<(String, String)>,
}

impl Terminal {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder"), serving: Vec::new(), ports: Vec::new() }
    }

    /// Writes the ports of here in place of those of the page.
    fn with_ports(&self, text: &str) -> String {
        self.ports.iter().fold(text.to_owned(), |text, (shown, here)| text.replace(shown, here))
    }

    /// Starts what ends with `&`, and waits until it serves.
    async fn start(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        let port = |word: &&str| word.strip_prefix("127.0.0.1:").map(str::to_owned);
        let shown = words.iter().find_map(port).unwrap_or_else(|| "4140".to_owned());
        let words: Vec<_> =
            words.iter().map(|word| if port(word).is_some() { "127.0.0.1:0" } else { *word }).collect();
        let ["signpost", arguments @ ..] = words.as_slice() else { panic!("{line} starts something else") };
        let mut command = signpost(arguments);
        command.current_dir(self.folder.path());
        let mut serving = Serving::start_command(command);
        let mark = if arguments[0] == "run" { "serving router" } else { "listening on " };
        let at = address(&serving.until(mark).await, mark);
        self.ports.push((shown, at.port().to_string()));
        self.serving.push(serving);
    }

    /// Runs a command or a script to its end; returns its output.
    fn run(&self, script: &str) -> String {
        let program = Path::new(env!("CARGO_BIN_EXE_signpost"));
        let folder = program.parent().and_then(Path::to_str).expect("the binary is in a folder");
        let path = std::env::var("PATH").expect("there is a path");
        let mut shell = Command::new("sh");
        shell.args(["-ec", script]).current_dir(self.folder.path()).env("PATH", format!("{folder}:{path}"));
        let done = shell.env_remove("SIGNPOST_LOG").stdin(Stdio::null()).output().expect("there is a shell");
        assert!(done.status.success(), "{script}\n{done:?}");
        String::from_utf8(done.stdout).expect("it writes text")
    }

    /// Does what a block says; returns what it prints.
    async fn paste(&mut self, block: &str) -> String {
        if block.contains("<<") {
            // The page says where the router listens; the admin server has the same port in every test.
            let block = block
                .replace("port: 4140 ", "port: 0 ")
                .replace("\nrouters:", "\nadmin: {port: 0}\nrouters:");
            return self.run(&block);
        }
        let mut printed = String::new();
        for line in block.lines() {
            if let Some(line) = line.strip_suffix(" &") {
                self.start(line).await;
            } else if line.starts_with("curl ") {
                let answer = curl(&self.with_ports(line)).await;
                writeln!(printed, "{}", answer.text().trim_end()).expect("text grows");
            } else {
                printed.push_str(&self.run(&self.with_ports(line)));
            }
        }
        printed
    }
}

#[tokio::test(flavor = "local")]
async fn it_works_by_copy_and_paste() {
    let page = book::pages().into_iter().find(|page| page.path == PAGE).expect("the page is there");
    let blocks = page.blocks();
    let mut terminal = Terminal::new();
    let (mut pasted, mut compared) = (0, 0);
    for (at, Block { mark, language, text }) in blocks.iter().enumerate() {
        if language != "sh" {
            let after_sh = at > 0 && blocks[at - 1].language == "sh";
            assert!(language == "text" && after_sh, "{text:?} is the output of no command");
            continue;
        }
        let expected = blocks.get(at + 1).filter(|next| next.language == "text");
        match mark.as_deref() {
            // The binary of this test is on the path in its place; and the test ends what it started.
            Some("getting started: build" | "getting started: end") => continue,
            Some("getting started") => {
                let printed = terminal.paste(text).await;
                if let Some(expected) = expected {
                    assert_eq!(printed.trim_end(), terminal.with_ports(expected.text.trim_end()), "{text}");
                    compared += 1;
                }
            }
            Some("getting started: soon") => {
                let expected = terminal.with_ports(expected.expect("it prints something").text.trim_end());
                until(&expected, async || terminal.paste(text).await.trim_end() == expected).await;
                compared += 1;
            }
            mark => panic!("{mark:?} is no mark of this page: {text}"),
        }
        pasted += 1;
    }
    assert_eq!((pasted, compared), (11, 6));
    for serving in terminal.serving.into_iter().rev() {
        assert_eq!(serving.end("TERM").await, Some(0));
    }
}
