//! Commands in chat form, such as `/docker_image_create name=example_name dependencies=mechanize packages=wget`.
//!
//! One parser for the chat line, for the words of `cooper create` and for its flags: the same wishes become the
//! same [`Request`] whichever door they come through. Values may be quoted with `'` or `"`; there are no escapes.

use cooper_core::name::ParseNameError;
use cooper_core::request::{ParseRequestError, parse_build_packages, parse_dependencies, parse_packages};
use cooper_core::requirements::{Hashes, Requirements};
use cooper_core::{Base, BaseChoice, DebianRequirement, ImageName, ImagePattern, PythonRequirement, Request};

use crate::images::{ImageQuery, ImageSort};
use crate::package_query::PackageQuery;

/// A command in chat form, understood.
#[derive(Debug, Clone)]
pub enum ChatCommand {
    /// `/docker_image_create`
    Create(CreateWords),
    /// `/docker_image_update`
    Update(UpdateWords),
    /// `/docker_images`
    Images(ImageQuery),
}

/// The arguments of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateWords {
    /// `image=`
    One(ImageName),
    /// `all=true`
    All,
}

/// The arguments of a create: all that a request needs except the base of those who name none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateWords {
    /// `name=`
    pub name: ImageName,
    /// `base=`, where it was given.
    pub base: Option<BaseChoice>,
    /// `dependencies=`; empty when it was left out.
    pub dependencies: Vec<PythonRequirement>,
    /// `packages=`; empty when it was left out.
    pub packages: Vec<DebianRequirement>,
    /// `build-packages=`; empty when it was left out.
    pub build_packages: Vec<DebianRequirement>,
    /// `recommends=true`
    pub recommends: bool,
    /// `fix-missing=true`
    pub fix_missing: bool,
    /// Of requirements files.
    pub constraints: Vec<PythonRequirement>,
    /// Of requirements files.
    pub hashes: Hashes,
}

impl CreateWords {
    /// Add what a requirements file says.
    ///
    /// # Errors
    /// When another file has other hashes for the same requirement.
    pub fn add(&mut self, requirements: Requirements) -> Result<(), ChatError> {
        self.dependencies.extend(requirements.dependencies);
        self.constraints.extend(requirements.constraints);
        for (requirement, digests) in requirements.hashes {
            let known = self.hashes.get(&requirement);
            if known.is_some_and(|known| *known != digests) {
                let requirement = requirement.to_string();
                return Err(ParseRequestError::OtherHashes { requirement }.into());
            }
            self.hashes.insert(requirement, digests);
        }
        Ok(())
    }

    /// The request, on `base` where the words name none.
    ///
    /// # Errors
    /// When neither list was given.
    pub fn request(self, base: Base) -> Result<Request, ChatError> {
        let Self {
            name,
            base: own,
            dependencies,
            packages,
            build_packages,
            recommends,
            fix_missing,
            constraints,
            hashes,
        } = self;
        let base = own.unwrap_or(BaseChoice::Debian(base));
        let request = Request::new(name, base, dependencies, packages)?;
        let request = request.bounded(constraints, hashes)?;
        let request = request.with_build_packages(build_packages)?;
        Ok(request.with_recommends(recommends).with_fix_missing(fix_missing))
    }
}

/// How long a chat line may be.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Why a line or its words are not a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// The line does not begin with a command.
    #[error("`{text}` is not a command in chat form: it begins with `/docker_`")]
    NotACommand {
        /// The first word.
        text: String,
    },
    /// There is no such command.
    #[error("there is no command `/{command}`")]
    UnknownCommand {
        /// Without the slash.
        command: String,
        /// The nearest that there is.
        near: Option<&'static str>,
    },
    /// The command has no such argument.
    #[error("there is no argument `{argument}`")]
    UnknownArgument {
        /// Without the slash.
        command: &'static str,
        /// As it was written.
        argument: String,
        /// The nearest that there is.
        near: Option<&'static str>,
    },
    /// A chat line comes from anybody: it names no files of the host that it reaches.
    #[error("a chat line cannot name a file: it may come from another machine than this one")]
    File,
    /// An argument that may be given once was given again.
    #[error("`{argument}` is given twice")]
    Repeated {
        /// Its name.
        argument: &'static str,
    },
    /// An argument that must be there is not.
    #[error("`{argument}` is missing")]
    Missing {
        /// Its name.
        argument: &'static str,
    },
    /// A word without `=`.
    #[error("`{word}` is not an argument and its value, such as `name=example_name`")]
    NotAPair {
        /// As it was written.
        word: String,
    },
    /// A quote is not closed.
    #[error("a {quote} quote is not closed")]
    UnclosedQuote {
        /// `'` or `"`.
        quote: char,
    },
    /// The line is longer than [`LINE_BYTES_MAX`].
    #[error("the line is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// A value that its argument does not take.
    #[error("`{argument}={value}` is not possible")]
    Value {
        /// The argument.
        argument: &'static str,
        /// As it was written.
        value: String,
        /// What is possible.
        possible: &'static str,
    },
    /// The words do not make a request.
    #[error(transparent)]
    Request(#[from] ParseRequestError),
}

impl From<ParseNameError> for ChatError {
    fn from(error: ParseNameError) -> Self {
        Self::Request(ParseRequestError::Name(error))
    }
}

impl ChatError {
    /// What to type instead.
    pub fn hint(&self) -> Option<String> {
        let example = || Some(format!("for example `{EXAMPLE}`"));
        match self {
            Self::NotACommand { .. } | Self::UnknownCommand { near: None, .. } => example(),
            Self::UnknownCommand { near: Some(near), .. } => Some(format!("did you mean `/{near}`?")),
            Self::UnknownArgument { near: Some(near), .. } => Some(format!("did you mean `{near}=`?")),
            Self::UnknownArgument {
                command, near: None, ..
            } => {
                let verb = Verb::ALL.into_iter().find(|verb| verb.command() == *command)?;
                Some(format!("its arguments: {}", verb.arguments().join(", ")))
            }
            Self::File => Some(
                "write `dependencies=…`, or `cooper create NAME --requirements FILE` in a shell".to_owned(),
            ),
            Self::Missing { argument: "image" } => Some("add `image=example_name`, or `all=true`".to_owned()),
            Self::Repeated { argument: "name" } => Some("an image has one name".to_owned()),
            Self::Repeated { argument } => {
                Some(format!("give one `{argument}=`; entries are separated by commas"))
            }
            Self::Missing { argument: "name" } => Some("add `name=example_name`".to_owned()),
            Self::Missing { argument } => Some(format!("add `{argument}=`")),
            Self::NotAPair { .. } => Some(
                "put a value that holds spaces in quotes: `dependencies=\"requests, pandas\"`".to_owned(),
            ),
            Self::UnclosedQuote { quote } => Some(format!("close it with another {quote}")),
            Self::TooLong => Some("shorten the lists, or make two images".to_owned()),
            Self::Value { possible, .. } => Some(format!("possible: {possible}")),
            Self::Request(error) => request_hint(error),
        }
    }
}

/// The argument of a create that names a file: the words of a shell have it, a chat line has not.
pub const REQUIREMENTS: &str = "requirements";

const EXAMPLE: &str = "/docker_image_create name=example_name dependencies=mechanize packages=wget";

/// What to type instead of words that make no request.
pub fn request_hint(error: &ParseRequestError) -> Option<String> {
    let hint = match error {
        ParseRequestError::Name(error) => return error.suggestion().map(|name| format!("try `{name}`")),
        ParseRequestError::Base(_) => "leave it out for `debian:trixie`",
        ParseRequestError::Python(cooper_core::python::ParsePythonError::Url { .. }) => {
            "write the distribution's name, such as `requests>=2.31`"
        }
        ParseRequestError::Python(_) => "a requirement looks like `requests[socks]>=2.31,<3`",
        ParseRequestError::Debian(_) => {
            "a package looks like `wget`, or `wget=1.25.0-2` for one exact version"
        }
        ParseRequestError::EmptyEntry { list, .. } => {
            return Some(format!(
                "name at least one thing, one between every two commas, or leave `{list}` out"
            ));
        }
        ParseRequestError::Unclosed { .. } => "close every `[`, `(` and quote",
        ParseRequestError::TooMany { .. } => "make several images",
        ParseRequestError::OtherHashes { .. } => {
            "take it out of one of the files, or give both the same hashes"
        }
        ParseRequestError::Unhashed { .. }
        | ParseRequestError::Unpinned { .. }
        | ParseRequestError::LooseHashes { .. } => {
            "`uv pip compile --generate-hashes` writes a file where everything has a version and hashes"
        }
        ParseRequestError::Nothing { .. } => "add `dependencies=mechanize`, `packages=wget`, or both",
    };
    Some(hint.to_owned())
}

/// The commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Create,
    Update,
    Images,
}

impl Verb {
    const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Images];

    const fn command(self) -> &'static str {
        match self {
            Self::Create => "docker_image_create",
            Self::Update => "docker_image_update",
            Self::Images => "docker_images",
        }
    }

    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Create => &[
                "name",
                "dependencies",
                "packages",
                "build-packages",
                "base",
                "recommends",
                "fix-missing",
            ],
            Self::Update => &["image", "all"],
            Self::Images => &["pattern", "package", "base", "sort"],
        }
    }

    fn parse(command: &str) -> Result<Self, ChatError> {
        if let Some(verb) = Self::ALL.into_iter().find(|verb| verb.command() == command) {
            return Ok(verb);
        }
        Err(ChatError::UnknownCommand {
            command: shown(command),
            near: nearest(command, Self::ALL.map(Self::command)),
        })
    }
}

/// Parse a line such as `/docker_image_create name=example_name dependencies=mechanize`.
///
/// # Errors
/// When it is not a command of this version with arguments that it takes.
pub fn parse(line: &str) -> Result<ChatCommand, ChatError> {
    parse_split(&split_words(line)?)
}

/// Parse a command whose words a shell has split already: the first is `/docker_…`, and may hold more words.
///
/// # Errors
/// As [`parse`].
pub fn parse_split(words: &[String]) -> Result<ChatCommand, ChatError> {
    let Some((command, rest)) = words.split_first() else {
        return Err(ChatError::NotACommand { text: String::new() });
    };
    let command = command
        .strip_prefix('/')
        .ok_or_else(|| ChatError::NotACommand { text: shown(command) })?;
    let verb = Verb::parse(command)?;
    let pairs = rest
        .iter()
        .map(|word| split_pair(word))
        .collect::<Result<Vec<_>, _>>()?;
    match verb {
        Verb::Create => parse_words(pairs).map(ChatCommand::Create),
        Verb::Update => parse_update(pairs).map(ChatCommand::Update),
        Verb::Images => parse_query(pairs).map(ChatCommand::Images),
    }
}

/// Split `argument=value` at its first `=`.
///
/// # Errors
/// When there is no `=`, or nothing before it.
pub fn split_pair(word: &str) -> Result<(String, String), ChatError> {
    match word.split_once('=') {
        Some((argument, value)) if !argument.is_empty() => Ok((argument.to_owned(), value.to_owned())),
        _ => Err(ChatError::NotAPair { word: shown(word) }),
    }
}

/// Parse the arguments of a create: `name`, `dependencies`, `packages`, `build-packages`, `base`,
/// `recommends`, `fix-missing`, each at most once, in any order.
///
/// # Errors
/// When an argument is unknown, repeated, missing, or its value is not what it should be.
pub fn parse_words(words: impl IntoIterator<Item = (String, String)>) -> Result<CreateWords, ChatError> {
    let mut values = take_arguments(Verb::Create, words)?;
    let name = values
        .take("name")
        .ok_or(ChatError::Missing { argument: "name" })?
        .parse::<ImageName>()?;
    let dependencies = values
        .take("dependencies")
        .map(|list| parse_dependencies(&list))
        .transpose()?;
    let packages = values
        .take("packages")
        .map(|list| parse_packages(&list))
        .transpose()?;
    let build_packages = values
        .take("build-packages")
        .map(|list| parse_build_packages(&list))
        .transpose()?;
    let base = values.take("base").map(|base| base.parse::<BaseChoice>());
    let base = base.transpose();
    let base = base.map_err(ParseRequestError::Base)?;
    let recommends = take_switch(&mut values, "recommends", "`recommends=true`")?;
    let fix_missing = take_switch(&mut values, "fix-missing", "`fix-missing=true`")?;
    let (dependencies, packages) = (dependencies.unwrap_or_default(), packages.unwrap_or_default());
    Ok(CreateWords {
        name,
        base,
        dependencies,
        packages,
        build_packages: build_packages.unwrap_or_default(),
        recommends,
        fix_missing,
        constraints: Vec::new(),
        hashes: Hashes::new(),
    })
}

/// Parse the arguments of an update: `image`, or `all=true`.
///
/// # Errors
/// As [`parse_words`]; also when both or neither is there.
pub fn parse_update(words: impl IntoIterator<Item = (String, String)>) -> Result<UpdateWords, ChatError> {
    let mut values = take_arguments(Verb::Update, words)?;
    let image = values
        .take("image")
        .map(|name| name.parse::<ImageName>())
        .transpose()?;
    let all = take_switch(&mut values, "all", "`all=true`")?;
    match (image, all) {
        (Some(name), false) => Ok(UpdateWords::One(name)),
        (None, true) => Ok(UpdateWords::All),
        (None, false) => Err(ChatError::Missing { argument: "image" }),
        (Some(name), true) => Err(ChatError::Value {
            argument: "image",
            value: name.to_string(),
            possible: "either `image=` or `all=true`",
        }),
    }
}

/// Parse the arguments of a list of images: `pattern`, `package`, `base`, `sort`, each at most once, in any order.
///
/// # Errors
/// As [`parse_words`].
pub fn parse_query(words: impl IntoIterator<Item = (String, String)>) -> Result<ImageQuery, ChatError> {
    let mut values = take_arguments(Verb::Images, words)?;
    let pattern = values.take("pattern").map(|pattern| ImagePattern::new(&pattern));
    let package = values.take("package").map(parse_package).transpose()?;
    let base = values.take("base").map(|base| ImagePattern::new(&base));
    let sort = values
        .take("sort")
        .map(parse_sort)
        .transpose()?
        .unwrap_or_default();
    Ok(ImageQuery {
        pattern,
        base,
        package,
        sort,
        with_packages: false,
    })
}

/// An argument that is `true` or `false`, and false where it is not there.
fn take_switch(
    values: &mut Arguments,
    argument: &'static str,
    possible: &'static str,
) -> Result<bool, ChatError> {
    match values.take(argument).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(ChatError::Value {
            argument,
            value: shown(other),
            possible,
        }),
    }
}

fn parse_package(value: String) -> Result<PackageQuery, ChatError> {
    let possible = "a package's name, `NAME==VERSION`, or `NAME<VERSION`";
    PackageQuery::new(&value).ok_or(ChatError::Value {
        argument: "package",
        value,
        possible,
    })
}

fn parse_sort(value: String) -> Result<ImageSort, ChatError> {
    match value.as_str() {
        "created" => Ok(ImageSort::Created),
        "name" => Ok(ImageSort::Name),
        "size" => Ok(ImageSort::Size),
        _ => Err(ChatError::Value {
            argument: "sort",
            value,
            possible: "created, name, size",
        }),
    }
}

/// The values of a command's arguments, each known and given once.
struct Arguments(Vec<(&'static str, String)>);

impl Arguments {
    fn take(&mut self, argument: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| *known == argument)?;
        Some(self.0.swap_remove(at).1)
    }
}

fn take_arguments(
    verb: Verb,
    words: impl IntoIterator<Item = (String, String)>,
) -> Result<Arguments, ChatError> {
    let mut taken = Vec::new();
    for (argument, value) in words {
        if verb == Verb::Create && argument == REQUIREMENTS {
            return Err(ChatError::File);
        }
        let known = verb.arguments().iter().copied().find(|known| *known == argument);
        let Some(known) = known else {
            let near = nearest(&argument, verb.arguments().iter().copied());
            return Err(ChatError::UnknownArgument {
                command: verb.command(),
                argument: shown(&argument),
                near,
            });
        };
        if taken.iter().any(|(earlier, _)| *earlier == known) {
            return Err(ChatError::Repeated { argument: known });
        }
        taken.push((known, value));
    }
    Ok(Arguments(taken))
}

/// Split a line at white space outside quotes, and take the quotes away.
///
/// # Errors
/// When a quote is not closed, or the line is too long.
pub fn split_words(line: &str) -> Result<Vec<String>, ChatError> {
    if line.len() > LINE_BYTES_MAX {
        return Err(ChatError::TooLong);
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    if let Some(quote) = quote {
        return Err(ChatError::UnclosedQuote { quote });
    }
    words.extend(word);
    Ok(words)
}

/// The nearest of the known words, where one is near enough to have been meant.
pub fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase();
    let close = |candidate: &&str| {
        let likeness = strsim::jaro_winkler(&text, candidate);
        let begins = text.len() >= 3 && candidate.starts_with(&text);
        (begins || likeness > 0.75).then_some((likeness * 1000.0).round())
    };
    let scored = known
        .into_iter()
        .filter_map(|candidate| close(&candidate).map(|score| (score, candidate)));
    scored
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// A word as an error may show it.
fn shown(word: &str) -> String {
    word.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Result<Request, ChatError> {
        match parse(line)? {
            ChatCommand::Create(words) => words.request(Base::default()),
            ChatCommand::Update(_) | ChatCommand::Images(_) => panic!("{line} is not a create"),
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(argument, value)| ((*argument).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn line_and_words_are_the_same_request() {
        let line = request(EXAMPLE).unwrap();
        let words = pairs(&[
            ("packages", "wget"),
            ("name", "example_name"),
            ("dependencies", "mechanize"),
        ]);
        assert_eq!(parse_words(words).unwrap().request(Base::Trixie).unwrap(), line);
        let quoted = "  /docker_image_create  packages='wget' base=debian:trixie \"name=example_name\" dependencies=\"mechanize\" ";
        assert_eq!(request(quoted).unwrap(), line);
        let split = EXAMPLE.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let ChatCommand::Create(words) = parse_split(&split).unwrap() else {
            panic!("a create")
        };
        assert_eq!(words.request(Base::Trixie).unwrap(), line);
        assert_ne!(
            request("/docker_image_create name=example_name dependencies=mechanize").unwrap(),
            line
        );
    }

    #[test]
    fn an_update_is_of_one_image_or_of_all() {
        let update = |line: &str| match parse(line) {
            Ok(ChatCommand::Update(words)) => words,
            other => panic!("{line}: {other:?}"),
        };
        let one = UpdateWords::One("example_name".parse().unwrap());
        assert_eq!(update("/docker_image_update image=example_name"), one);
        assert_eq!(update("/docker_image_update image=example_name all=false"), one);
        assert_eq!(update("/docker_image_update all=true"), UpdateWords::All);
    }

    #[test]
    fn spaces_are_kept_inside_quotes() {
        let spaced =
            request("/docker_image_create name=a dependencies=\"requests [socks] >= 2.31, < 3, pandas\"");
        let tight = request("/docker_image_create name=a dependencies=requests[socks]>=2.31,<3,pandas");
        assert_eq!(spaced.unwrap(), tight.unwrap());
        let marker = request("/docker_image_create name=a dependencies='b; python_version > \"3\"'").unwrap();
        assert!(marker.dependencies()[0].as_str().contains("python"), "{marker:?}");
    }

    /// A line, a part of the message, a part of the hint.
    const WRONG_LINES: &[(&str, &str, &str)] = &[
        ("hello", "not a command", "/docker_image_create"),
        ("", "not a command", "/docker_image_create"),
        (
            "/docker_image_crate name=a",
            "no command `/docker_image_crate`",
            "/docker_image_create",
        ),
        ("/docker_image_update", "`image` is missing", "all=true"),
        (
            "/docker_image_update image=a all=true",
            "`image=a` is not possible",
            "either",
        ),
        (
            "/docker_image_update all=yes",
            "`all=yes` is not possible",
            "all=true",
        ),
        ("/docker_image_create nam=a", "no argument `nam`", "name="),
        (
            "/docker_image_create name=a dependancies=b",
            "no argument `dependancies`",
            "dependencies=",
        ),
        (
            "/docker_image_create name=a zzz=b",
            "no argument `zzz`",
            "name, dependencies, packages, build-packages, base",
        ),
        (
            "/docker_image_create name=a name=b packages=c",
            "`name` is given twice",
            "one name",
        ),
        (
            "/docker_image_create dependencies=a",
            "`name` is missing",
            "name=example_name",
        ),
        (
            "/docker_image_create name=a dependencies=b, c",
            "`c` is not an argument",
            "quotes",
        ),
        (
            "/docker_image_create name=a dependencies=b, c=d",
            "no argument `c`",
            "name, dependencies",
        ),
        (
            "/docker_image_create name=a dependencies=",
            "is empty",
            "at least one",
        ),
        (
            "/docker_image_create name=a packages=b,,c",
            "empty entry",
            "between every two commas",
        ),
        (
            "/docker_image_create name=a dependencies='b",
            "not closed",
            "close it",
        ),
        (
            "/docker_image_create name=Example packages=b",
            "upper-case",
            "`example`",
        ),
        ("/docker_image_create name= packages=b", "is empty", ""),
        (
            "/docker_image_create name=a base=debian:sid packages=wget",
            "is not a base",
            "debian:trixie",
        ),
        (
            "/docker_image_create name=a",
            "nothing to put into",
            "packages=wget",
        ),
        (
            "/docker_image_create name=a packages=Wget",
            "is not a Debian package",
            "`wget`",
        ),
        (
            "/docker_image_create name=a dependencies=https://x.test/a.whl",
            "URL",
            "name",
        ),
        (
            "/docker_image_create name=a requirements=/etc/shadow",
            "cannot name a file",
            "--requirements FILE",
        ),
        ("/docker_images sort=age", "`sort=age`", "created, name, size"),
        ("/docker_images package==", "`package==`", "NAME==VERSION"),
    ];

    #[test]
    fn wrong_lines_say_what_to_type() {
        for (line, message, hint) in WRONG_LINES {
            let error = match parse(line) {
                Ok(ChatCommand::Create(words)) => words.request(Base::Trixie).unwrap_err(),
                Ok(other) => panic!("{line} is {other:?}"),
                Err(error) => error,
            };
            assert!(error.to_string().contains(message), "{line}: {error}");
            assert!(
                error.hint().unwrap_or_default().contains(hint),
                "{line}: {:?}",
                error.hint()
            );
        }
    }

    #[test]
    fn images_take_a_query() {
        let Ok(ChatCommand::Images(query)) = parse("/docker_images") else {
            panic!("a list")
        };
        assert!(query.pattern.is_none() && query.package.is_none());
        let line = "/docker_images pattern=example* package=requests==2.32.3 sort=size";
        let Ok(ChatCommand::Images(query)) = parse(line) else {
            panic!("a list")
        };
        assert!(query.pattern.is_some() && query.package.is_some());
        assert_eq!(query.sort, ImageSort::Size);
    }

    #[test]
    fn hostile_lines_are_errors() {
        assert_eq!(
            parse(&"a".repeat(LINE_BYTES_MAX + 1)).unwrap_err(),
            ChatError::TooLong
        );
        let long = parse(&format!("/{}", "b".repeat(5000))).unwrap_err().to_string();
        assert!(long.len() < 200, "{long}");
        for line in [
            "/",
            "//",
            "'",
            "\"'",
            "/docker_image_create =",
            "/docker_image_create \u{0}=\u{0}",
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }
}
