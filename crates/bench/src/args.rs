//! The options, as `scripts/bench` gives them.

use std::path::PathBuf;

use crate::error::BenchError;

const USAGE: &str = "usage: bench --cooper FILE --crowd FILE --work DIR --source DIR --report FILE --sets DIR --uv FILE [--ca FILE] [--pip-index URL] \
                     [--build-arg NAME]... [--only N[,N]...] [--quick]";

/// What to measure, and where.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The binary that is measured.
    pub(crate) cooper: PathBuf,
    /// testkit's example `crowd`, which fills a store.
    pub(crate) crowd: PathBuf,
    /// Where the base is cached and everything else lives for the time of the run.
    pub(crate) work: PathBuf,
    /// The repository: its commit is named.
    pub(crate) source: PathBuf,
    /// The file that gets the table between its markers.
    pub(crate) report: PathBuf,
    /// Requirement sets, one in each file.
    pub(crate) sets: PathBuf,
    /// The binary of uv.
    pub(crate) uv: PathBuf,
    /// Certificates that pip in the peer's image has to trust.
    pub(crate) ca: Option<PathBuf>,
    /// The Python index of the host, where one is set.
    pub(crate) pip_index: Option<String>,
    /// Names of variables (proxies) that docker hands to its builds.
    pub(crate) build_args: Vec<String>,
    /// The numbers of the cases to measure; empty for all.
    pub(crate) only: Vec<usize>,
    /// Few repetitions, to see whether the benchmark works.
    pub(crate) quick: bool,
}

impl Options {
    /// Parse the words after the program's name.
    pub(crate) fn parse(words: &[String]) -> Result<Self, BenchError> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(flag) = words.next() {
            if flag == "--quick" {
                options.quick = true;
                continue;
            }
            let value = words.next().ok_or_else(usage)?;
            options.set(flag, value)?;
        }
        let needed = [
            &mut options.cooper,
            &mut options.crowd,
            &mut options.work,
            &mut options.source,
            &mut options.report,
            &mut options.sets,
            &mut options.uv,
        ];
        for path in needed {
            if path.as_os_str().is_empty() {
                return Err(usage());
            }
            // Programs are started in other folders.
            *path = std::path::absolute(&*path).map_err(|source| BenchError::file(path, source))?;
        }
        Ok(options)
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<(), BenchError> {
        match flag {
            "--cooper" => self.cooper = value.into(),
            "--crowd" => self.crowd = value.into(),
            "--work" => self.work = value.into(),
            "--source" => self.source = value.into(),
            "--report" => self.report = value.into(),
            "--sets" => self.sets = value.into(),
            "--uv" => self.uv = value.into(),
            "--ca" => self.ca = Some(value.into()),
            "--pip-index" => self.pip_index = Some(value.to_owned()),
            "--build-arg" => self.build_args.push(value.to_owned()),
            "--only" => {
                let numbers = value.split(',').map(str::parse);
                self.only = numbers.collect::<Result<_, _>>().map_err(|_| usage())?;
            }
            _ => return Err(usage()),
        }
        Ok(())
    }

    /// Whether this case is measured.
    pub(crate) fn wants(&self, case: usize) -> bool {
        self.only.is_empty() || self.only.contains(&case)
    }

    /// Only a whole run may replace the table.
    pub(crate) fn writes_report(&self) -> bool {
        self.only.is_empty() && !self.quick
    }
}

fn usage() -> BenchError {
    BenchError::Usage(USAGE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, BenchError> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn a_part_of_the_cases_does_not_replace_the_table() {
        let whole = "--cooper /c --crowd /d --work /w --source /s --report /r --sets /t --uv /u";
        assert!(parse(whole).unwrap().writes_report());
        let some = parse(&format!("{whole} --only 1,5 --build-arg http_proxy")).unwrap();
        assert!(!some.writes_report());
        assert!(some.wants(5) && !some.wants(2));
        assert!(!parse(&format!("{whole} --quick")).unwrap().writes_report());
    }

    #[test]
    fn what_is_missing_or_unknown_is_refused() {
        for line in [
            "",
            "--cooper /c",
            "--cooper /c --crowd /d --work /w --source /s --report",
            "--cooper /c --crowd /d --work /w --source /s --report /r --sets /t --uv /u --only one",
            "--cooper /c --crowd /d --work /w --source /s --report /r --sets /t --uv /u --fast yes",
        ] {
            assert!(matches!(parse(line), Err(BenchError::Usage(_))), "{line}");
        }
    }
}
