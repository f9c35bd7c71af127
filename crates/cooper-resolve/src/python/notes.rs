//! What a user should know about a solution although all went well.

use cooper_core::PythonName;

use super::driver::{Chosen, Solved};
use super::error::PythonError;
use super::net::Net;
use super::page::{Offer, Release};

/// Requirements that do not apply, extras that are missing, and why the newest version was not taken.
pub(super) fn of(net: &Net, solved: &Solved) -> Result<Vec<String>, PythonError> {
    let mut notes: Vec<String> = Vec::new();
    let base = net.target.base;
    notes.extend(
        net.wishes
            .idle
            .iter()
            .map(|text| format!("`{text}` does not apply to {base}: its marker is false")),
    );
    let there = solved.chosen.keys().filter(|name| net.wishes.names(name));
    notes.extend(there.filter_map(|name| {
        let installed = net.wishes.installed.get(name)?;
        Some(format!(
            "`{name}` is part of the base {} already, as {}",
            installed.image, installed.version
        ))
    }));
    for (name, extra) in &solved.missing_extras {
        let version = solved
            .chosen
            .get(name)
            .map(|chosen| chosen.version.to_string())
            .unwrap_or_default();
        notes.push(format!(
            "{name} {version} has no extra `{extra}`, which another distribution asks for"
        ));
    }
    for (name, chosen) in solved
        .chosen
        .iter()
        .filter(|(_, chosen)| chosen.version.any_prerelease())
    {
        let by = solved.demands.iter().filter(|(_, need)| &need.name == name);
        let by: Vec<String> = by
            .map(|(by, need)| format!("{by} needs {}", need.shown()))
            .collect();
        notes.push(format!(
            "{name} {} is a pre-release: {}",
            chosen.version,
            by.join(", ")
        ));
    }
    for (name, chosen) in &solved.chosen {
        notes.extend(if net.wishes.names(name) {
            not_newest(net, solved, name, chosen)?
        } else {
            passed_over(net, name, chosen)?
        });
    }
    Ok(notes)
}

/// A newer version of what is merely needed that the gates would refuse.
fn passed_over(net: &Net, name: &PythonName, chosen: &Chosen) -> Result<Option<String>, PythonError> {
    let page = net.page(name)?;
    let mut newer = page
        .releases
        .iter()
        .take_while(|release| release.version > chosen.version);
    Ok(newer.find_map(|release| {
        let why = gates_refuse(net, name, release)?;
        let (taken, newer) = (&chosen.version, &release.version);
        (!newer.any_prerelease()).then(|| format!("{name} {taken} is taken and not {newer}: {newer} {why}"))
    }))
}

fn gates_refuse(net: &Net, name: &PythonName, release: &Release) -> Option<String> {
    let archive = net.wishes.admission(name).admit(release, &net.target).ok()?;
    net.refusal(name, &release.version, archive)
}

/// Why a version of a project that the request names is not the newest final one.
fn not_newest(
    net: &Net,
    solved: &Solved,
    name: &PythonName,
    chosen: &Chosen,
) -> Result<Option<String>, PythonError> {
    let page = net.page(name)?;
    let wishes: Vec<_> = net
        .wishes
        .needs
        .iter()
        .filter(|need| &need.name == name)
        .collect();
    let newest = page.releases.iter().find(|release| {
        !release.version.any_prerelease()
            && net.wishes.admission(name).allows_version(&release.version)
            && wishes
                .iter()
                .all(|need| need.specifiers.contains(&release.version))
    });
    let Some(newest) = newest.filter(|newest| newest.version > chosen.version) else {
        return Ok(None);
    };
    let refused = net.wishes.admission(name).admit(newest, &net.target).err();
    let refused = refused.or_else(|| gates_refuse(net, name, newest));
    let held = solved.demands.iter();
    let held = held.filter(|(_, need)| &need.name == name && !need.specifiers.contains(&newest.version));
    let held = held
        .map(|(by, need)| format!("{by} needs {}", need.shown()))
        .next();
    let source = (matches!(newest.offer, Offer::Source(_)) && !chosen.archive.is_source()).then(|| {
        let version = &newest.version;
        format!("{version} has no wheel, only sources; `{name}=={version}` has it built")
    });
    let why = refused
        .map(|why| format!("{} {why}", newest.version))
        .or(held)
        .or(source);
    let why = why.unwrap_or_else(|| "the rest does not fit together with a newer one".to_owned());
    Ok(Some(format!(
        "{name} {} is taken and not {}: {why}",
        chosen.version, newest.version
    )))
}
