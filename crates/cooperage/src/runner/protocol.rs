//! The lines of a runner: one JSON request in, one JSON reply out.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cooper_sandbox::{CollectError, Collected, CpuCounter, Enforced, Enforcer, Limit, Refusal, Refused};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::run::{ConnectionsReport, OutputFolder};

/// One request. Unknown fields are refused, so that a mistyped limit is never ignored.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunnerRequest {
    /// Comes back with the reply: a string or a number.
    #[serde(deserialize_with = "id")]
    pub id: Value,
    /// Whose run this is. Runs of different owners share no template. By default the peer's user.
    #[serde(default)]
    pub owner: Option<String>,
    /// The script's text.
    #[serde(default)]
    pub script: Option<String>,
    /// The name that the script's text gets as a file.
    #[serde(default)]
    pub script_name: Option<String>,
    /// In place of it, a file that the runner reads.
    #[serde(default)]
    pub script_path: Option<PathBuf>,
    /// The script's arguments: of a list, each element is one of `sys.argv` (what is no string, as JSON). The whole value is
    /// in the variable `COOPER_ARGS`.
    #[serde(default)]
    pub args: Value,
    /// Environment variables beside the image's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Standard input.
    #[serde(default)]
    pub stdin: Content,
    /// Files in `/input`, by name.
    #[serde(default)]
    pub files: BTreeMap<String, Content>,
    /// Files in `/run/secrets` that only the script can read, by name.
    #[serde(default)]
    pub secrets: BTreeMap<String, Content>,
    /// From the start of the run to its end, in milliseconds.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Bounds, where they are not the runner's own.
    #[serde(default, deserialize_with = "object")]
    pub limits: RequestLimits,
    /// It may write everywhere in the image's root, in memory.
    #[serde(default)]
    pub writable: bool,
    /// Whom it can reach: `none`, or `allow:HOST[:PORT],…` as the flag `--network` of a run. By default nobody.
    #[serde(default)]
    pub network: Option<String>,
}

/// Bounds of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestLimits {
    /// Memory.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    #[serde(default)]
    pub pids: Option<u32>,
    /// Open files of one process.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// Processor time per second: 1000 is one processor.
    #[serde(default)]
    pub cpu_millis: Option<u32>,
    /// `/tmp`
    #[serde(default)]
    pub tmp_bytes: Option<u64>,
    /// `/work`
    #[serde(default)]
    pub scratch_bytes: Option<u64>,
}

impl RunnerRequest {
    /// Parse a line: an object, as are its parts. (Serde takes an array for a structure, too: by position.)
    pub(super) fn parse(line: &[u8]) -> Result<Self, serde_json::Error> {
        let mut parser = serde_json::Deserializer::from_slice(line);
        let request = object(&mut parser)?;
        parser.end()?;
        Ok(request)
    }
}

/// The `id` of a line that is no request, to answer it with.
pub(super) fn id_of(line: &[u8]) -> Value {
    let line = serde_json::from_slice::<Value>(line).ok();
    let id = line.and_then(|line| line.get("id").cloned());
    id.filter(is_id).unwrap_or(Value::Null)
}

fn is_id(value: &Value) -> bool {
    value.is_string() || value.is_number()
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let id = Value::deserialize(deserializer)?;
    let is_good = is_id(&id);
    is_good
        .then_some(id)
        .ok_or_else(|| serde::de::Error::custom("`id` is a string or a number"))
}

/// A structure from an object alone.
fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Members<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(members))
        }
    }
    deserializer.deserialize_map(Members(PhantomData))
}

/// Bytes in JSON: a string is its UTF-8, everything else is `{"base64": "…"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content(pub Vec<u8>);

#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenContent {
    Text(String),
    Encoded(#[serde(deserialize_with = "object")] EncodedContent),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EncodedContent {
    base64: String,
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match WrittenContent::deserialize(deserializer)? {
            WrittenContent::Text(text) => Ok(Self(text.into_bytes())),
            WrittenContent::Encoded(EncodedContent { base64 }) => {
                let decoded = BASE64.decode(base64);
                decoded
                    .map(Self)
                    .map_err(|_| serde::de::Error::custom("not valid base64"))
            }
        }
    }
}

impl Serialize for Content {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => EncodedContent {
                base64: BASE64.encode(&self.0),
            }
            .serialize(serializer),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunnerStatus {
    /// By itself.
    Exited,
    /// By a signal.
    Killed,
    /// At a limit.
    Limit,
    /// It was not run, or not to its end; `error` says why.
    Error,
}

/// One reply.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunnerReply {
    /// The request's.
    pub id: Value,
    /// How the run ended.
    pub status: RunnerStatus,
    /// What the script exited with, where it did.
    pub exit_code: Option<u8>,
    /// The number of the signal that killed it.
    pub signal: Option<i32>,
    /// Which limit ended it: `timeout` or `memory`.
    pub limit: Option<String>,
    /// Standard output.
    pub stdout: Content,
    /// Standard error.
    pub stderr: Content,
    /// Standard output or error was longer than the bound; what is here is a part.
    pub truncated: bool,
    /// What the script gave to `cooper_result`.
    pub result: Option<Value>,
    /// Why there is no result, though the script gave something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_error: Option<String>,
    /// The same as a word for programs: `not-json`, or as of a refused output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_error_code: Option<String>,
    /// What the script left in `/output`.
    pub outputs: Vec<Output>,
    /// What it left there that is not taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs_refused: Vec<OutputRefused>,
    /// How much was refused beside those.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub outputs_refused_beside: u64,
    /// What became of its connections, where its network was an allow-list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<ConnectionsReport>,
    /// From the request to the end.
    pub duration_ms: f64,
    /// What it used.
    pub usage: RunnerUsage,
    /// What holds each limit.
    pub enforced: Vec<HeldLimit>,
    /// Why it was not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A file that a script left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Output {
    /// Below `/output`.
    pub path: String,
    /// Its bytes.
    pub content: Content,
}

/// A file that is not taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OutputRefused {
    /// Below `/output`.
    pub path: String,
    /// Why, as a word for programs.
    pub code: Refusal,
    /// The same for people.
    pub reason: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde gives fields by reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a run used.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct RunnerUsage {
    /// Processor time of its processes.
    pub cpu_ms: f64,
    /// What counted it; where it is `ended-processes`, only those that were waited for count.
    pub cpu_by: Option<CpuCounter>,
    /// The most memory at any time, where it was counted.
    pub memory_peak_bytes: Option<u64>,
}

/// A limit and what holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLimit {
    /// The name of the flag that sets it, without the dashes.
    pub limit: String,
    /// `cgroup-v1`, `cgroup-v2`, `rlimit`, `tmpfs`, `timer` or `nothing`.
    pub by: String,
}

impl RunnerStatus {
    /// Its word in a reply.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Killed => "killed",
            Self::Limit => "limit",
            Self::Error => "error",
        }
    }
}

impl RunnerReply {
    /// What holds each limit; words that are not known are left out.
    pub fn enforced_limits(&self) -> Vec<Enforced> {
        let known = |held: &HeldLimit| {
            let limit = Limit::ALL
                .into_iter()
                .find(|limit| limit.as_str() == held.limit)?;
            let by = Enforcer::ALL.into_iter().find(|by| by.as_str() == held.by)?;
            Some(Enforced { limit, by })
        };
        self.enforced.iter().filter_map(known).collect()
    }

    /// Bring what it has left to a folder of the host, file by file.
    ///
    /// # Errors
    /// At the first file that cannot be kept: those before it are there.
    pub fn keep_outputs(&self, folder: &OutputFolder) -> Result<Collected, CollectError> {
        let kept = self
            .outputs
            .iter()
            .map(|output| folder.put(Path::new(&output.path), &output.content.0));
        let refused = self.outputs_refused.iter().map(|refused| Refused {
            shown_path: refused.path.clone(),
            reason: refused.code,
        });
        Ok(Collected {
            files: kept.collect::<Result<_, _>>()?,
            refused: refused.collect(),
            refused_beside: self.outputs_refused_beside,
        })
    }

    /// A reply to what was not run.
    pub fn refused(id: Value, error: impl fmt::Display) -> Self {
        Self {
            id,
            status: RunnerStatus::Error,
            exit_code: None,
            signal: None,
            limit: None,
            stdout: Content::default(),
            stderr: Content::default(),
            truncated: false,
            result: None,
            result_error: None,
            result_error_code: None,
            outputs: Vec::new(),
            outputs_refused: Vec::new(),
            outputs_refused_beside: 0,
            network: None,
            duration_ms: 0.0,
            usage: RunnerUsage::default(),
            enforced: Vec::new(),
            error: Some(error.to_string()),
            hint: None,
        }
    }
}

/// The arguments as `sys.argv` has them, and as `COOPER_ARGS` has them.
pub(super) fn arguments(args: &Value) -> (Vec<String>, Option<String>) {
    let word = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), ToOwned::to_owned)
    };
    match args {
        Value::Null => (Vec::new(), None),
        Value::Array(list) => (list.iter().map(word).collect(), Some(args.to_string())),
        _ => (Vec::new(), Some(args.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_encoded() {
        for bytes in [b"text\n\x1b[0m".as_slice(), b"\xff\x00", "ä".as_bytes()] {
            let written = serde_json::to_string(&Content(bytes.to_vec())).unwrap();
            assert_eq!(
                serde_json::from_str::<Content>(&written).unwrap().0,
                bytes,
                "{written}"
            );
        }
        assert!(serde_json::from_str::<Content>(r#"{"base64": "?"}"#).is_err());
        assert!(serde_json::from_str::<Content>("1").is_err());
    }

    #[test]
    fn arguments_are_words_and_json() {
        let args = serde_json::json!(["a", 1, {"b": null}]);
        let (words, json) = arguments(&args);
        assert_eq!(words, ["a", "1", r#"{"b":null}"#]);
        assert_eq!(json.as_deref(), Some(r#"["a",1,{"b":null}]"#));
        assert_eq!(arguments(&Value::Null), (Vec::new(), None));
    }

    #[test]
    fn a_mistyped_field_is_refused() {
        let parsed = |text: &str| RunnerRequest::parse(text.as_bytes());
        assert!(parsed(r#"{"id": 1, "script": ""}"#).is_ok());
        for bad in [
            r#"{"id": 1, "script": "", "timeout": 3}"#,
            r#"{"id": 1, "script": "", "limits": {"memory": 3}}"#,
            r#"{"script": ""}"#,
            r#"[7, null, "print(5)"]"#,
            r#"{"id": 1, "script": "", "limits": []}"#,
            r#"{"id": 1, "script": "", "stdin": ["aGk="]}"#,
            r#"{"id": {"a": 1}, "script": ""}"#,
            r#"{"id": null, "script": ""}"#,
            r#"{"id": 1, "script": ""} {}"#,
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
