//! What to do about a failed fetch.

use super::FetchError;

impl FetchError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Offline { .. } => "run once without `--offline`; what is fetched then is kept",
            Self::NotFound { .. } | Self::NoAddress { .. } => {
                "run again with `--refresh`: the index may have changed since it was read"
            }
            Self::DigestMismatch { .. } | Self::TooLarge { .. } | Self::Truncated { .. } => {
                "run again with `--refresh`; if it stays, the mirror or a proxy serves wrong bytes: configure another one"
            }
            Self::Timeout { .. } | Self::TooSlow { .. } | Self::Connect { .. } | Self::Status { .. } => {
                "run again: what was fetched is kept; `cooper config` shows mirrors and proxies"
            }
            Self::Denied { url, .. } => {
                let host = url.as_url().host_str().unwrap_or("HOST");
                return Some(format!(
                    "give this host's user name and password in ~/.netrc (`machine {host} login USER password \
                     PASSWORD`, the file with mode 600), in COOPER_CREDENTIALS (`https://USER:PASSWORD@{host}/`), or by a \
                     `network.credential_helper`"
                ));
            }
            Self::Helper { .. } => "`cooper config` shows `network.credential_helper` and where it is set",
            Self::Tls { .. } | Self::CaFile { .. } => {
                "add your organisation's certificate authority to the host's, or name its file in `network.ca_files`"
            }
            Self::Scheme { .. }
            | Self::Redirects { .. }
            | Self::InsecureRedirect { .. }
            | Self::Protocol { .. } => {
                "`cooper config` shows the addresses in force and where each comes from"
            }
            Self::DiskFull { .. } => "free some space on the store's disk and run again",
            Self::Io { .. } => "check that the store is writable: `cooper config` shows where it is",
            Self::Cancelled { .. } => return None,
            Self::AllFailed { attempts, .. } => {
                return attempts.last().and_then(|attempt| attempt.error.hint());
            }
        };
        Some(text.to_owned())
    }
}
