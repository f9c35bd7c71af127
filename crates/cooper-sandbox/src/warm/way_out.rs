//! The gateway of one child, started with it and ended with it: who gets into it has what this one run sends, and nothing
//! of the next.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::error::SandboxError;
use crate::network::{Gateway, GatewayProgram, HandOut, Heard, NetworkReport, Rules, SessionId};

/// How long what a script has sent may still go out when it has ended by itself.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// A gateway and where it is on its way.
pub(super) struct WayOut {
    rules: Rules,
    gateway: Gateway,
    session: SessionId,
    is_ready: bool,
    /// When its report is not waited for any more.
    closes: Option<Instant>,
    /// What became of the run's connections, once that is known.
    report: Option<NetworkReport>,
}

impl WayOut {
    /// Start one as this user, who is nobody else on the host. What the child's network namespace needs comes back.
    pub(super) fn start(rules: &Rules, user: u32) -> Result<(Self, HandOut), SandboxError> {
        let mut gateway = Gateway::start(&GatewayProgram::this_executable(), user)?;
        let (session, listeners) = gateway.open(rules);
        let way_out = Self {
            rules: rules.clone(),
            gateway,
            session,
            is_ready: false,
            closes: None,
            report: None,
        };
        Ok((way_out, listeners))
    }

    /// Where the listeners are sent.
    pub(super) fn control(&self) -> BorrowedFd<'_> {
        self.gateway.control()
    }

    /// What may bring news of it.
    pub(super) fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.report.is_none().then(|| self.gateway.control())
    }

    /// Whether it serves.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready && self.report.is_none()
    }

    /// Look at what it has said. A run goes on without its gateway; a child that waits does not, for which an error says
    /// why: `has_begun` tells them apart.
    pub(super) fn hear(&mut self, has_begun: bool) -> Result<(), SandboxError> {
        while self.report.is_none() {
            match self.gateway.hear(&self.rules) {
                Heard::Nothing => break,
                Heard::Ready => self.is_ready = true,
                Heard::Report(report) => self.report = Some(report),
                Heard::Lost(_) if has_begun => self.report = Some(NetworkReport::lost()),
                Heard::Lost(reason) => return Err(lost(reason)),
            }
        }
        if self.closes.is_some_and(|closes| closes <= Instant::now()) && self.report.is_none() {
            self.report = Some(NetworkReport::lost());
        }
        Ok(())
    }

    /// The run has ended: connections that it has open may finish for the time of `grace`.
    pub(super) fn close(&mut self, grace: Duration) {
        if self.closes.is_none() && self.report.is_none() {
            match self.gateway.ask_to_close(self.session, grace) {
                Ok(patience) => self.closes = Some(Instant::now() + patience),
                Err(_) => self.report = Some(NetworkReport::lost()),
            }
        }
    }

    /// When something has to be done about it at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.closes.filter(|_| self.report.is_none())
    }

    /// Whether it is known what became of the connections.
    pub(super) fn is_settled(&self) -> bool {
        self.report.is_some()
    }

    /// What became of them. The gateway has ended then.
    pub(super) fn into_report(self) -> NetworkReport {
        self.report.unwrap_or_else(NetworkReport::lost)
    }
}

fn lost(reason: String) -> SandboxError {
    SandboxError::Gateway {
        operation: "keep the gateway",
        source: std::io::Error::other(reason),
    }
}
