//! Requests to an http proxy in absolute form (RFC 9112, section 3.2.2).
//!
//! The HTTP library opens a tunnel even for http addresses, which many proxies refuse for other ports than 443,
//! and caching proxies cannot cache. So the request is addressed to the proxy, with the whole address as its path:
//! `GET /http://host/path`. On its way out the slash is taken away. No server but the proxy sees such a request.

use ureq::Error;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// How a request begins that is to be put into absolute form.
const MARKED: &[u8] = b"GET /http://";
/// Where the slash is in it.
const SLASH_AT: usize = 4;

/// Puts every request of its connections into absolute form.
#[derive(Debug)]
pub(super) struct AbsoluteForm;

impl<In: Transport> Connector<In> for AbsoluteForm {
    type Out = AbsoluteFormTransport<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(AbsoluteFormTransport))
    }
}

#[derive(Debug)]
pub(super) struct AbsoluteFormTransport<In>(In);

impl<In: Transport> Transport for AbsoluteFormTransport<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let output = self.0.buffers().output();
        if !output[..amount].starts_with(MARKED) {
            return self.0.transmit_output(amount, timeout);
        }
        output.copy_within(SLASH_AT + 1..amount, SLASH_AT);
        self.0.transmit_output(amount - 1, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.0.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}
