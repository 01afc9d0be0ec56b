//! One measurement: what is measured, where it runs, and for how long.

use std::{fmt, str::FromStr, time::Duration};

use crate::{
    Result,
    workload::{Measure, Workload},
};

/// Where server and client run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each on a thread of its own, with a current-thread runtime.
    Ct,
    /// Both in one runtime with two workers.
    Mt,
}

impl Mode {
    /// The modes in which a workload runs.
    pub(crate) fn of(workload: Workload) -> &'static [Self] {
        match workload {
            // Memory does not depend on it.
            Workload::IdleStream | Workload::IdleSession | Workload::TlsIdleSession | Workload::IdleCall => {
                &[Self::Ct]
            }
            // One thread simulates both ends.
            Workload::Link { .. } => &[Self::Ct],
            // Both processes have two workers.
            Workload::Fleet { .. } => &[Self::Mt],
            // What they are to show has nothing to do with it either, and they take long.
            Workload::IdleBeside { .. } | Workload::Conns { .. } => &[Self::Ct],
            _ => &[Self::Ct, Self::Mt],
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ct => "ct",
            Self::Mt => "mt",
        })
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ct" => Ok(Self::Ct),
            "mt" => Ok(Self::Mt),
            other => Err(format!("unknown mode '{other}', there are ct and mt")),
        }
    }
}

/// One measurement of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) workload: Workload,
    pub(crate) mode: Mode,
    /// How long it is measured; a quarter of it goes before to warm up.
    pub(crate) time: Duration,
}

impl Slice {
    /// The time before it counts.
    pub(crate) fn warm_up(self) -> Duration {
        self.time / 4
    }

    /// Time within which it must have ended, whatever the peer does.
    pub(crate) fn limit(self) -> Duration {
        // Memory is weighed twice, each time after a rest, of several peers at once.
        let rest = if self.workload.measure() == Measure::Memory { 5 } else { 0 };
        Duration::from_secs(5 + rest) + self.time * 4 + self.workload.set_up() * 10
    }
}
