//! What a request costs a proxy in CPU time, beside another.

use super::child::{Child, Cpu, Error};
use super::exchange::{Exchange, Protocol};
use super::load::{Callers, Load};

/// One kind of exchange, under which the proxies are compared.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) from: Protocol,
    pub(crate) to: Protocol,
    pub(crate) callers: Callers,
    /// How many requests make a round.
    pub(crate) requests: usize,
    /// Whether the router is measured with an override on every request, too.
    pub(crate) overriding: bool,
}

impl Case {
    const fn new(
        name: &'static str,
        [from, to]: [Protocol; 2],
        exchange: Exchange,
        [connections, streams]: [usize; 2],
        requests: usize,
    ) -> Self {
        let callers = Callers { exchange, connections, streams };
        Self { name, from, to, callers, requests, overriding: false }
    }
}

/// All of them. Small exchanges are many at once, as in use; few large ones keep a processor busy.
pub(crate) const CASES: [Case; 9] = {
    use Protocol::{Http1, Http2};
    const LARGE: usize = 64 << 10;
    const HUGE: usize = 1 << 20;
    [
        Case {
            overriding: true,
            ..Case::new("h1 to h1, 1 KiB", [Http1, Http1], Exchange::get(1024), [32, 1], 40_000)
        },
        Case::new("h2 to h2, 1 KiB", [Http2, Http2], Exchange::get(1024), [8, 8], 20_000),
        Case::new("h2 to h1, 1 KiB", [Http2, Http1], Exchange::get(1024), [8, 8], 20_000),
        Case::new("h1 to h1, 64 KiB", [Http1, Http1], Exchange::get(LARGE), [8, 1], 6_000),
        Case::new("h2 to h2, 64 KiB", [Http2, Http2], Exchange::get(LARGE), [4, 2], 3_000),
        Case::new("h1 to h1, 1 MiB", [Http1, Http1], Exchange::get(HUGE), [8, 1], 400),
        Case::new("h2 to h2, 1 MiB", [Http2, Http2], Exchange::get(HUGE), [4, 2], 240),
        Case::new("h1 to h1, 1 MiB sent", [Http1, Http1], Exchange::post(HUGE), [8, 1], 400),
        Case::new("h2 to h2, 1 MiB sent", [Http2, Http2], Exchange::post(HUGE), [4, 2], 240),
    ]
};

/// A proxy under one case.
pub(crate) struct Subject<'a> {
    pub(crate) name: &'static str,
    pub(crate) proxy: &'a Child,
    pub(crate) address: &'a str,
    pub(crate) exchange: Exchange,
}

/// What one round of requests cost, in microseconds per request.
pub(crate) struct Cost {
    pub(crate) total: f64,
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cost {
    /// The scheduler's clock says how much, the clock tick how it was divided.
    fn of(used: &Cpu, requests: usize) -> Self {
        let total = used.nanoseconds as f64 / 1_000.0 / requests as f64;
        let ticks = (used.user + used.system).max(1) as f64;
        Self { total, user: total * used.user as f64 / ticks, system: total * used.system as f64 / ticks }
    }
}

/// The costs of every subject, round by round; a round has a `part`th of the requests that the case has.
pub(crate) fn measure(
    case: &Case,
    subjects: &[Subject<'_>],
    load: &mut Load,
    rounds: usize,
    part: usize,
) -> Result<Vec<Vec<Cost>>, Error> {
    let mut costs: Vec<_> = subjects.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        // Each goes first as often as last, so that what drifts does not favour one.
        for turn in 0..subjects.len() {
            let at = (round + turn) % subjects.len();
            costs[at].push(cost(case, &subjects[at], load, case.requests / part)?);
        }
    }
    Ok(costs)
}

fn cost(case: &Case, subject: &Subject<'_>, load: &mut Load, requests: usize) -> Result<Cost, Error> {
    load.open(subject.address, case.from, Callers { exchange: subject.exchange, ..case.callers })?;
    load.run(requests / 10)?;
    let before = subject.proxy.cpu()?;
    let made = load.run(requests)?;
    let used = subject.proxy.cpu()?.since(&before);
    load.close()?;
    Ok(Cost::of(&used, made))
}
