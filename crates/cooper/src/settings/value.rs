//! What the values of settings look like: each type is parsed from the texts that a file, a variable or a flag holds.

use std::path::PathBuf;
use std::time::Duration;

use cooper_core::{Base, ImageVersion, Organisation};
use cooperage::{Enforcement, Network, Runtime};
use url::Url;

/// A type that a setting may have.
pub(crate) trait SettingType: Sized {
    /// Parse; a setting that holds one value gets one text. The error says what is expected.
    fn parse(texts: &[String]) -> Result<Self, String>;
}

/// The one text of a setting that holds one value.
fn only(texts: &[String]) -> Result<&str, String> {
    match texts {
        [text] if !text.is_empty() => Ok(text),
        [_] => Err("it is empty".to_owned()),
        _ => Err("expected one value, not a list".to_owned()),
    }
}

macro_rules! parsed_by_core {
    ($($name:ty),*) => { $(
        impl SettingType for $name {
            fn parse(texts: &[String]) -> Result<Self, String> {
                only(texts)?.parse().map_err(|error| format!("{error}"))
            }
        }
    )* };
}
parsed_by_core!(Organisation, ImageVersion, Base);

impl SettingType for String {
    fn parse(texts: &[String]) -> Result<Self, String> {
        only(texts).map(str::to_owned)
    }
}

impl SettingType for bool {
    fn parse(texts: &[String]) -> Result<Self, String> {
        match only(texts)? {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("expected `true` or `false`".to_owned()),
        }
    }
}

impl SettingType for Enforcement {
    fn parse(texts: &[String]) -> Result<Self, String> {
        match only(texts)? {
            "required" => Ok(Self::Required),
            "best-effort" => Ok(Self::BestEffort),
            _ => Err("expected `required` or `best-effort`".to_owned()),
        }
    }
}

impl SettingType for Runtime {
    fn parse(texts: &[String]) -> Result<Self, String> {
        let text = only(texts)?;
        let known = [Self::Own, Self::Crun, Self::Runsc];
        let named = known.into_iter().find(|runtime| runtime.as_str() == text);
        named.ok_or_else(|| "expected `own`, `crun` or `runsc`".to_owned())
    }
}

impl SettingType for Network {
    fn parse(texts: &[String]) -> Result<Self, String> {
        only(texts)?.parse().map_err(|error| format!("{error}"))
    }
}

impl SettingType for PathBuf {
    fn parse(texts: &[String]) -> Result<Self, String> {
        let text = only(texts)?;
        if text.starts_with('~') {
            return Err("`~` is not expanded: write the whole path".to_owned());
        }
        Ok(Self::from(text))
    }
}

impl SettingType for Vec<PathBuf> {
    fn parse(texts: &[String]) -> Result<Self, String> {
        texts
            .iter()
            .map(|text| <PathBuf as SettingType>::parse(std::slice::from_ref(text)))
            .collect()
    }
}

impl SettingType for Url {
    fn parse(texts: &[String]) -> Result<Self, String> {
        let url = Self::options()
            .parse(only(texts)?)
            .map_err(|error| format!("not a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err("expected a URL that begins with `https://` or `http://`".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("a URL with `?` or `#` is not possible here".to_owned());
        }
        Ok(url)
    }
}

impl SettingType for Vec<Url> {
    fn parse(texts: &[String]) -> Result<Self, String> {
        if texts.is_empty() {
            return Err("expected at least one URL".to_owned());
        }
        texts
            .iter()
            .map(|text| <Url as SettingType>::parse(std::slice::from_ref(text)))
            .collect()
    }
}

/// An address with a user name or a password in it.
pub(crate) struct LoginUrl;

impl SettingType for Vec<LoginUrl> {
    fn parse(texts: &[String]) -> Result<Self, String> {
        let urls = Vec::<Url>::parse(texts)?;
        if urls
            .iter()
            .any(|url| cooperage::Credentials::of_url(url).is_none())
        {
            return Err("expected addresses of the form `https://USER:PASSWORD@HOST/`".to_owned());
        }
        Ok(urls.iter().map(|_| LoginUrl).collect())
    }
}

impl SettingType for Vec<String> {
    fn parse(texts: &[String]) -> Result<Self, String> {
        match texts.first() {
            Some(first) if !first.is_empty() => Ok(texts.to_vec()),
            _ => Err("expected a program and its arguments, as a list".to_owned()),
        }
    }
}

/// A bound on how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Count(pub(crate) u64);

impl SettingType for Count {
    fn parse(texts: &[String]) -> Result<Self, String> {
        let count = only(texts)?.parse().ok().filter(|count| *count > 0);
        count
            .map(Self)
            .ok_or_else(|| "expected a whole number above 0".to_owned())
    }
}

/// A number of bytes, such as `64MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteCount(pub(crate) u64);

impl SettingType for ByteCount {
    fn parse(texts: &[String]) -> Result<Self, String> {
        let wrong = || "expected a size above 0 such as `64MiB`, `1GiB` or `1GB`".to_owned();
        let text = only(texts)?.trim();
        let (number, unit) = split_unit(text).ok_or_else(wrong)?;
        let factor: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(wrong()),
        };
        scaled(number, factor)
            .filter(|bytes| *bytes > 0)
            .map(Self)
            .ok_or_else(wrong)
    }
}

/// CPUs in thousandths of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MilliCpus(pub(crate) u32);

impl SettingType for MilliCpus {
    fn parse(texts: &[String]) -> Result<Self, String> {
        let wrong = || "expected a number of CPUs such as `1`, `2` or `0.5`".to_owned();
        let thousandths = scaled(only(texts)?, 1000).filter(|thousandths| *thousandths >= 10);
        thousandths
            .and_then(|thousandths| u32::try_from(thousandths).ok())
            .map(Self)
            .ok_or_else(wrong)
    }
}

impl SettingType for Duration {
    fn parse(texts: &[String]) -> Result<Self, String> {
        let wrong = || "expected a time such as `90s`, `5m`, `1h30m` or `0`".to_owned();
        let mut rest = only(texts)?.trim();
        let mut total_ms: u64 = 0;
        if rest.bytes().all(|byte| byte.is_ascii_digit()) {
            return rest.parse().map(Self::from_secs).map_err(|_| wrong());
        }
        while !rest.is_empty() {
            let (number, tail) = split_unit(rest).ok_or_else(wrong)?;
            let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let unit_ms: u64 = match tail[..unit_end].trim() {
                "ms" => 1,
                "s" => 1_000,
                "m" | "min" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(wrong()),
            };
            let part = scaled(number, unit_ms).ok_or_else(wrong)?;
            total_ms = total_ms.checked_add(part).ok_or_else(wrong)?;
            rest = &tail[unit_end..];
        }
        Ok(Self::from_millis(total_ms))
    }
}

/// A bound on time: above nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timeout(pub(crate) Duration);

impl SettingType for Timeout {
    fn parse(texts: &[String]) -> Result<Self, String> {
        let time = Duration::parse(texts).ok().filter(|time| !time.is_zero());
        let wrong = || "expected a time above 0 such as `90s`, `5m` or `1h30m`".to_owned();
        time.map(Self).ok_or_else(wrong)
    }
}

/// The leading number, perhaps with a decimal point, and what follows.
fn split_unit(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (!number.is_empty()).then(|| (number, unit.trim()))
}

/// A decimal number times a factor, exactly, rounded down.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 9 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if fraction.is_empty() {
        return (!number.ends_with('.')).then_some(whole);
    }
    let divisor = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(factor) / divisor;
    whole.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<T: SettingType>(text: &str) -> Result<T, String> {
        T::parse(&[text.to_owned()])
    }

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        for (text, bytes) in [
            ("1", 1),
            ("64MiB", 64 << 20),
            ("64m", 64 << 20),
            ("1 GiB", 1 << 30),
            ("1GB", 1_000_000_000),
            ("1.5K", 1536),
            ("0.001kb", 1),
        ] {
            assert_eq!(parse::<ByteCount>(text).unwrap().0, bytes, "{text}");
        }
        for bad in [
            "",
            "0",
            "-1",
            "1x",
            "MiB",
            "1.2.3M",
            "1.",
            "99999999999T",
            "1e9",
            "½",
        ] {
            assert!(parse::<ByteCount>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_add_up() {
        for (text, ms) in [
            ("0", 0),
            ("300", 300_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1500),
            ("250ms", 250),
            ("1h 5s", 3_605_000),
        ] {
            assert_eq!(parse::<Duration>(text).unwrap().as_millis(), ms, "{text}");
        }
        for bad in ["", "m", "5x", "-5s", "5m5", "99999999999999999999", "1..5s"] {
            assert!(parse::<Duration>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cpus_are_thousandths() {
        assert_eq!(parse::<MilliCpus>("0.5").unwrap().0, 500);
        assert_eq!(parse::<MilliCpus>("2").unwrap().0, 2000);
        for bad in ["", "0", "0.001", "-1", "a", "4294968"] {
            assert!(parse::<MilliCpus>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_are_http() {
        assert!(parse::<Url>("https://mirror.test/debian").is_ok());
        for bad in ["", "mirror.test", "ftp://mirror.test", "file:///etc", "https://"] {
            assert!(parse::<Url>(bad).is_err(), "{bad}");
        }
        assert!(Vec::<Url>::parse(&[]).is_err());
    }
}
