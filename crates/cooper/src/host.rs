//! What this host lets the command do: an ordinary user's process becomes root of a user namespace, or is told why not.
//!
//! A command that makes or reads files of other ids calls one of these before its first thread starts, and after it has
//! read the settings: inside a namespace the files of the host's root belong to nobody that is known there.

use cooperage::{BecomeRootError, Caller, Lacking, become_root, remedy};

use crate::failure::{Code, Failure};

/// That this host can make images: an error that says so where it cannot.
pub(crate) fn check_host(doing: &str) -> Result<(), Failure> {
    let lacking = become_able(doing)?;
    if Caller::of_process().owns_image_ids() {
        return Ok(());
    }
    let whose = if lacking.is_empty() {
        "of this user namespace"
    } else {
        "of an ordinary user"
    };
    let mut failure = Failure::new(
        Code::SubordinateIds,
        format!("{doing} needs 65536 user and group ids, and those {whose} are fewer"),
    );
    for lack in &lacking {
        failure = failure.because(lack.to_string());
    }
    Err(failure.hint(remedy(&lacking).map(|commands| format!("`{commands}`"))))
}

/// That this host can run something in an image. With the user's own id alone that is possible too, as far as the image's
/// files can be read.
pub(crate) fn check_host_to_run() -> Result<(), Failure> {
    let lacking = become_able("running in an image")?;
    for lack in lacking {
        tracing::debug!(%lack, "the run has few ids");
    }
    Ok(())
}

/// That this host can keep warm runs: what runs has an id beside the caller's own.
pub(crate) fn check_host_to_keep() -> Result<(), Failure> {
    let lacking = become_able("keeping warm runs")?;
    if Caller::of_process() != (Caller::NamespaceRoot { ids: 1 }) {
        return Ok(());
    }
    let message =
        "keeping warm runs needs subordinate user and group ids: what runs is a user beside your own";
    let mut failure = Failure::new(Code::SubordinateIds, message.to_owned());
    for lack in &lacking {
        failure = failure.because(lack.to_string());
    }
    Err(failure
        .hint(remedy(&lacking).map(|commands| format!("`{commands}`; or `cooper run` without `--warm`"))))
}

/// Be able to remove and read what belongs to other ids, where that is possible. Where it is not, the command goes as far
/// as it gets.
pub(crate) fn own_files_of_images() {
    match become_able("this") {
        Ok(lacking) => lacking
            .iter()
            .for_each(|lack| tracing::debug!(%lack, "there are few ids")),
        Err(failure) => tracing::debug!(why = failure.message(), "files of other ids stay out of reach"),
    }
}

fn check_machine(doing: &str) -> Result<(), Failure> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        let message = format!(
            "{doing} works on Linux on amd64 only, for now; this is {} on {}",
            std::env::consts::OS,
            std::env::consts::ARCH
        );
        return Err(Failure::new(Code::UnsupportedHost, message)
            .hint("use a Linux machine with an x86-64 processor".to_owned()));
    }
    Ok(())
}

/// Be root, of the host or of a user namespace; what is lacking for all ids of an image.
pub(crate) fn become_able(doing: &str) -> Result<Vec<Lacking>, Failure> {
    check_machine(doing)?;
    if Caller::of_process() != Caller::Ordinary {
        return Ok(Vec::new());
    }
    become_root().map_err(|error| {
        let code = match error {
            BecomeRootError::Forbidden { .. } => Code::UserNamespaces,
            BecomeRootError::System { .. } => Code::UnsupportedHost,
        };
        let hint = error.hint();
        let message = format!("{doing} as an ordinary user needs a user namespace");
        Failure::of(code, &error).told(message).hint(hint)
    })
}
