//! `cooper check`: a verdict without building.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use cooperage::gate::licences::LicenceCode;
use cooperage::gate::{Outcome, code};
use cooperage::{Checked, LicenceExplained};
use serde_json::{Value, json};

use crate::command::check_lists;
use crate::command::inspect::parse_reference;
use crate::command::subject::Subject;
use crate::failure::{Code, Exit, Failure};
use crate::render::table::{Align, Table, printable};
use crate::render::verdict::{self, Place};
use crate::settings::read_text;
use crate::shell::{Need, Shell, open_workshop};

const EXAMPLES: &str = "\
Examples:
  cooper check 'requests>=2.31' jinja2==3.1.2
  cooper check --requirements requirements.txt --packages wget --profile production
  cooper check --image example_name --json
  cooper check --lock example_name.lock --sarif > findings.sarif
  cooper check --image example_name --as-judged          # its own verdict, once more
  cooper check --sbom bom.json                          # CycloneDX or SPDX
  cooper check --names names.txt --json                 # one name a line: look-alikes, offline
  cooper check --plan versions.txt --json               # name==version lines: advisories, offline
  cooper check --why AGE-YOUNG
  cooper check --explain-licence certifi --image example_name

What is needed by what is asked for is judged too. Nothing is downloaded but the indexes and what they
say of each version. Exit status: 0 passed, 3 refused, 4 a gate could not judge.";

/// What may be judged: one of these.
const SUBJECTS: [&str; 10] = [
    "words",
    "requirements",
    "packages",
    "image",
    "lock",
    "sbom",
    "names",
    "plan",
    "explain_licence",
    "why",
];

/// Judge packages, an image or a lock without building anything
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    /// Python requirements (PEP 508)
    #[arg(value_name = "REQUIREMENT", required_unless_present_any = &SUBJECTS[1..], conflicts_with_all = ["image", "lock", "sbom"])]
    words: Vec<String>,
    #[command(flatten)]
    subject: Subject,
    /// Judge names alone, one a line, by the evidence in the store (`-`: standard input)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["words", "requirements", "packages", "image", "lock", "sbom", "why", "sarif"])]
    names: Option<PathBuf>,
    /// Judge `name==version` lines by the advisories in the store alone (`-`: standard input)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["words", "requirements", "packages", "image", "lock", "sbom", "names", "why", "sarif"])]
    plan: Option<PathBuf>,
    /// Explain the licence of a package that an image has: what each source says
    #[arg(long, value_name = "NAME", conflicts_with_all = ["words", "requirements", "packages", "lock", "sbom", "names", "plan", "why", "sarif"])]
    explain_licence: Option<String>,
    /// Judge the image as when it was made: by the evidence that its verdict names, at that time, with the waivers of then
    #[arg(long, requires = "image")]
    as_judged: bool,
    /// Explain a finding's code
    #[arg(long, value_name = "CODE", conflicts_with_all = ["words", "requirements", "packages", "base", "image", "lock", "sbom", "name"])]
    why: Option<String>,
    /// Print the findings as SARIF 2.1.0
    #[arg(long, conflicts_with_all = ["json", "why"])]
    sarif: bool,
}

/// Execute `cooper check`.
pub(crate) fn check(args: &CheckArgs, shell: &Shell) -> Result<Exit, Failure> {
    if let Some(code) = &args.why {
        return explain(code, shell);
    }
    if let Some(package) = &args.explain_licence {
        return explain_licence(package, args.subject.image.as_deref(), shell);
    }
    if let Some(file) = &args.names {
        return check_lists::names(file, &args.subject, shell);
    }
    if let Some(file) = &args.plan {
        return check_lists::versions(file, &args.subject, shell);
    }
    let checked = match &args.subject.image {
        Some(image) if args.as_judged => args.subject.judge_as_then(image, shell)?,
        _ => args.subject.judge(&args.words, shell)?.1,
    };
    for note in &checked.notes {
        shell.note("note", note);
    }
    if args.sarif {
        let file = shown_file(&args.subject);
        let place = file.as_ref().map(|(file, text)| Place { file, text });
        let document = verdict::sarif(&checked.verdict, place.as_ref());
        shell.write(|out| {
            serde_json::to_writer_pretty(&mut *out, &document)?;
            writeln!(out)
        })?;
    } else {
        shell.print(|| document(&checked), |out| verdict::write(out, &checked.verdict))?;
    }
    Ok(match checked.verdict.outcome {
        Outcome::Passed => Exit::GOOD,
        Outcome::Refused => Exit::REFUSED,
        Outcome::Unknown => Exit::UNKNOWN,
    })
}

/// The one file that was judged, to show findings in it.
fn shown_file(subject: &Subject) -> Option<(String, String)> {
    let file = match (subject.requirements.as_slice(), &subject.lock) {
        ([file], None) | ([], Some(file)) => Some(file),
        _ => subject.sbom.as_ref(),
    }?;
    let text = read_text(Path::new(file), 64 << 20).ok().flatten()?;
    Some((file.display().to_string(), text))
}

fn document(checked: &Checked) -> Value {
    let packages = checked.packages.iter().map(|listed| {
        json!({
            "ecosystem": listed.package.ecosystem,
            "name": listed.package.name,
            "version": listed.package.version,
            "path": listed.path,
        })
    });
    let mut document = json!(checked.verdict);
    document["packages"] = packages.collect();
    document["artefacts_not_judged"] = verdict::unread_json(&checked.unread);
    document["notes"] = json!(checked.notes);
    document
}

fn explain(text: &str, shell: &Shell) -> Result<Exit, Failure> {
    let Some(explained) = code::explain(text) else {
        let known: Vec<&str> = code::all().iter().map(|known| known.code).collect();
        let shown: String = text.chars().take(80).collect();
        let near = cooperage::chat::nearest(&text.to_ascii_uppercase(), known.iter().copied());
        let hint = near.map_or_else(
            || format!("there are {}", known.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        let failure = Failure::new(Code::Usage, format!("there is no finding `{shown}`"));
        return Err(failure.hint(hint));
    };
    let waivable = if explained.waivable {
        "`cooper waive` lifts it"
    } else {
        "no waiver lifts it"
    };
    shell.print(
        || {
            json!({
                "code": explained.code,
                "explanation": explained.explanation,
                "waivable": explained.waivable,
            })
        },
        |out| writeln!(out, "{}: {} ({waivable})", explained.code, explained.explanation),
    )?;
    Ok(Exit::GOOD)
}

fn explain_licence(package: &str, image: Option<&str>, shell: &Shell) -> Result<Exit, Failure> {
    let image = image.map(parse_reference).transpose()?;
    let workshop = open_workshop(&shell.settings()?, Need::Store)?;
    let Some(explained) = workshop.explain_licence(package, image.as_ref())? else {
        let shown: String = package.chars().take(80).collect();
        let message = match image {
            None => format!("no image has the package `{shown}`"),
            Some(image) => format!("{image} does not have the package `{shown}`"),
        };
        let failure = Failure::new(Code::Of("unknown-package"), message);
        return Err(failure.hint("`cooper inspect IMAGE` lists the packages of an image".to_owned()));
    };
    shell.print(|| json!(explained), |out| write_licence(out, &explained))?;
    Ok(Exit::GOOD)
}

fn write_licence(out: &mut dyn Write, explained: &LicenceExplained) -> io::Result<()> {
    let LicenceExplained {
        image,
        package,
        answer,
        judgement,
    } = explained;
    let none = || "none".to_owned();
    let expression = |expression: &Option<_>| expression.as_ref().map_or_else(none, ToString::to_string);
    writeln!(out, "{} of {image}", printable(&package.to_string()))?;
    writeln!(out, "  licence   {}", printable(&expression(&answer.expression)))?;
    let source = answer.source.as_ref().map_or_else(none, ToString::to_string);
    writeln!(
        out,
        "  from      {}, {}",
        printable(&source),
        answer.sureness.as_str()
    )?;
    if answer.others.is_some() {
        writeln!(out, "  carries   {}", printable(&expression(&answer.others)))?;
    }
    let code = judgement.code.map_or("passes", LicenceCode::as_str);
    writeln!(out, "  judged    {code}: {}", printable(&judgement.why))?;
    for contradiction in &answer.contradictions {
        writeln!(out, "  but       {}", printable(contradiction))?;
    }
    writeln!(out)?;
    let mut table = Table::new([
        ("SOURCE", Align::Left),
        ("READ AS", Align::Left),
        ("SAID", Align::Left),
        ("NOTE", Align::Left),
    ]);
    for statement in &answer.statements {
        let said: String = statement.said.chars().take(60).collect();
        table.row([
            statement.source.to_string(),
            expression(&statement.read_as),
            said,
            statement.note.clone().unwrap_or_default(),
        ]);
    }
    table.write(out, "")
}
