//! The parts as processes: how they are started, spoken to, measured and ended.

pub(crate) use super::process::{Error, on_one_thread};

use super::process;
use std::io::{self, BufRead as _, BufReader, Lines, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::{env, fs};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Which processor a part runs on, where there are two or more: the proxy has one for itself.
#[derive(Clone, Copy)]
pub(crate) enum Core {
    Proxy,
    Others,
}

/// A part that runs. It is killed by its id when dropped.
pub(crate) struct Child {
    process: std::process::Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// The CPU time a process has used.
pub(crate) struct Cpu {
    /// By the scheduler's clock, in nanoseconds.
    pub(crate) nanoseconds: u64,
    /// Of that, what the clock tick found in user mode and in the kernel, in hundredths of a second.
    pub(crate) user: u64,
    pub(crate) system: u64,
}

impl Cpu {
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            nanoseconds: self.nanoseconds - before.nanoseconds,
            user: self.user - before.user,
            system: self.system - before.system,
        }
    }
}

impl Child {
    /// Starts this binary in another role.
    ///
    /// The shell in between raises the limit on open files and then becomes the part: neither can be set from here
    /// without unsafe code. Where there is no `taskset`, or one processor, the parts are not pinned.
    pub(crate) fn start(core: Core, role: &[&str]) -> Result<Self, Error> {
        const BECOME: &str = "ulimit -n $(ulimit -H -n); \
            if taskset -c $0 true 2>/dev/null; then exec taskset -c $0 \"$@\"; else exec \"$@\"; fi";
        let processors = std::thread::available_parallelism()?.get();
        let core = match core {
            Core::Proxy => "0".to_owned(),
            Core::Others => format!("{}-{}", 1.min(processors - 1), processors - 1),
        };
        let mut process = Command::new("sh")
            .args(["-c", BECOME, &core])
            .arg(env::current_exe()?)
            .args(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let (Some(input), Some(output)) = (input, output) else { return Err("a part has no pipes".into()) };
        Ok(Self { process, input, output: BufReader::new(output).lines() })
    }

    /// The next line it prints.
    pub(crate) fn line(&mut self) -> Result<String, Error> {
        Ok(self.output.next().ok_or("a part ended early")??)
    }

    /// Gives it a command and waits until it says that it was done.
    pub(crate) fn ask(&mut self, command: &str) -> Result<(), Error> {
        writeln!(self.input, "{command}")?;
        match self.line()?.as_str() {
            "done" => Ok(()),
            failed => Err(format!("{command}: {failed}").into()),
        }
    }

    /// The CPU time of all of its threads.
    pub(crate) fn cpu(&self) -> Result<Cpu, Error> {
        let process = format!("/proc/{}", self.process.id());
        let mut nanoseconds = 0;
        for thread in fs::read_dir(format!("{process}/task"))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanoseconds += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
        let text = fs::read_to_string(format!("{process}/stat"))?;
        // The name in parentheses may hold blanks; behind it, utime and stime are the 12th and 13th.
        let (_, fields) = text.rsplit_once(") ").ok_or("/proc has an unknown form")?;
        let mut ticks = fields.split(' ').skip(11).map(str::parse);
        let mut next = || ticks.next().unwrap_or(Ok(0));
        Ok(Cpu { nanoseconds, user: next()?, system: next()? })
    }

    /// Its resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<u64, Error> {
        process::resident(self.process.id())
    }

    /// The most it has had of it so far, in bytes.
    pub(crate) fn most_resident(&self) -> Result<u64, Error> {
        process::most_resident(self.process.id())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The commands for this process, line by line. When the process that sends them is gone, it ends.
pub(crate) fn commands() -> UnboundedReceiver<String> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            // Most parts take no commands.
            let _ = sender.send(line);
        }
        std::process::exit(0);
    });
    receiver
}
