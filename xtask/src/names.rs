//! `cargo xtask names`: how the names gate does on lists of look-alikes and of real names.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use cooper_gate::names::{NameVerdict, PopularNames, Weight, judge};

/// Where the lists are, and where the popular one is cut.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    popular: PathBuf,
    squats: PathBuf,
    real: Option<PathBuf>,
    cut: usize,
    list_held: bool,
}

pub(crate) const USAGE: &str =
    "cargo xtask names --popular FILE --squats FILE [--real FILE-OR-DIR] [--cut 5000] [--list]";

impl Options {
    /// The words after `names`.
    pub(crate) fn parse(words: &[String]) -> Option<Self> {
        let mut words = words.iter();
        let (mut popular, mut squats, mut real, mut cut, mut list_held) = (None, None, None, 5_000, false);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--popular" => popular = Some(PathBuf::from(words.next()?)),
                "--squats" => squats = Some(PathBuf::from(words.next()?)),
                "--real" => real = Some(PathBuf::from(words.next()?)),
                "--cut" => cut = words.next()?.parse().ok().filter(|cut| *cut > 0)?,
                "--list" => list_held = true,
                _ => return None,
            }
        }
        Some(Self {
            popular: popular?,
            squats: squats?,
            real,
            cut,
            list_held,
        })
    }
}

/// One row of the table: of how many names how many were held.
struct Row {
    what: String,
    names: usize,
    held: Vec<String>,
    passed: Vec<String>,
}

/// Judge a list of names.
fn judged<'a>(what: String, names: impl Iterator<Item = &'a str>, popular: &PopularNames) -> Row {
    let mut row = Row {
        what,
        names: 0,
        held: Vec::new(),
        passed: Vec::new(),
    };
    for name in names {
        row.names += 1;
        let judgement = judge(name, Some(popular), Weight::Direct);
        let code = judgement.code.map_or("", |code| code.as_str());
        match judgement.verdict {
            NameVerdict::Pass => row.passed.push(name.to_owned()),
            NameVerdict::Hold | NameVerdict::Refuse => {
                row.held.push(format!("{name}: {code}: {}", judgement.why));
            }
        }
    }
    row
}

/// Measure, and give the table in Markdown.
pub(crate) fn table(options: &Options) -> Result<String, String> {
    let read = |path: &PathBuf| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let bytes = read(&options.popular)?;
    let start = Instant::now();
    let popular =
        PopularNames::parse(&bytes).map_err(|error| format!("{}: {error}", options.popular.display()))?;
    let built = start.elapsed();
    let squats = String::from_utf8_lossy(&read(&options.squats)?).into_owned();
    let squats = squats.lines().skip(1).filter_map(|line| line.split(',').next());
    let cut = popular.first(options.cut);
    let rest = popular.names().skip(options.cut);
    let mut rows = vec![
        judged("look-alikes".to_owned(), squats, &popular),
        judged(
            format!("real names of rank {} and more, list cut there", options.cut + 1),
            rest,
            &cut,
        ),
    ];
    if let Some(path) = &options.real {
        let names = real_names(path)?;
        let names = names.iter().map(String::as_str);
        rows.push(judged(
            "names of real requirement sets".to_owned(),
            names,
            &popular,
        ));
    }
    let start = Instant::now();
    for name in popular.names().skip(options.cut) {
        std::hint::black_box(judge(name, Some(&cut), Weight::Direct));
    }
    let each = start.elapsed() / u32::try_from(popular.len() - cut.len()).unwrap_or(1).max(1);
    let mut text = rendered(&rows, options.list_held);
    let _ = writeln!(
        text,
        "\n{} names parsed and indexed in {built:.1?}; {each:.1?} for each name that is in no list.",
        popular.len()
    );
    Ok(text)
}

fn rendered(rows: &[Row], list_held: bool) -> String {
    let mut text = String::from("| names | number | held | share |\n|---|--:|--:|--:|\n");
    for row in rows {
        #[expect(clippy::cast_precision_loss, reason = "thousands")]
        let share = 100.0 * row.held.len() as f64 / row.names.max(1) as f64;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {share:.2} % |",
            row.what,
            row.names,
            row.held.len()
        );
    }
    for row in rows.iter().filter(|_| list_held) {
        let _ = writeln!(text, "\nheld of {}:", row.what);
        for held in &row.held {
            let _ = writeln!(text, "  {held}");
        }
        if row.passed.len() < 200 {
            let _ = writeln!(text, "passed: {}", row.passed.join(" "));
        }
    }
    text
}

/// The names at the beginnings of lines, of one file or of all files of a folder.
fn real_names(path: &PathBuf) -> Result<Vec<String>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut files = vec![path.clone()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(failed)?;
        files = entries.flatten().map(|entry| entry.path()).collect();
    }
    let mut names = std::collections::BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(failed)?;
        let name = |line: &str| {
            line.split(|c: char| !(c.is_alphanumeric() || "-_.".contains(c)))
                .next()
                .map(str::to_owned)
        };
        let lines = text
            .lines()
            .filter(|line| line.starts_with(char::is_alphanumeric));
        names.extend(lines.filter_map(name));
    }
    Ok(names.into_iter().collect())
}
