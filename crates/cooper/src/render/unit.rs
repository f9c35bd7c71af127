//! Sizes, durations and points in time as people read them.

use std::time::Duration;

use cooper_core::Timestamp;

/// A size in binary units with three figures at least: `61.2 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A duration: `41 ms`, `8.4 s`, `2 min 5 s`.
pub(crate) fn duration(time: Duration) -> String {
    let (seconds, ms) = (time.as_secs(), time.as_millis());
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", seconds, time.subsec_millis() / 100),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// A point in time in UTC (RFC 3339) to the second.
pub(crate) fn time(timestamp: Timestamp) -> String {
    Timestamp::from_second(timestamp.as_second())
        .unwrap_or(timestamp)
        .to_string()
}

/// `1 package`, `2 packages`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    if number == 1 {
        format!("1 {thing}")
    } else {
        format!("{number} {thing}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        let sizes: Vec<String> = [0, 1023, 1024, 1536, 1 << 20, 64_172_851, 5 << 30, u64::MAX]
            .map(size)
            .to_vec();
        assert_eq!(
            sizes,
            [
                "0 B",
                "1023 B",
                "1.0 KiB",
                "1.5 KiB",
                "1.0 MiB",
                "61.1 MiB",
                "5.0 GiB",
                "16383.9 PiB"
            ]
        );
        let times = [41, 999, 1000, 8_449, 59_999, 125_000]
            .map(Duration::from_millis)
            .map(duration);
        assert_eq!(
            times,
            ["41 ms", "999 ms", "1.0 s", "8.4 s", "59.9 s", "2 min 5 s"]
        );
        let moment: Timestamp = "2026-11-23T08:00:00.123456789Z".parse().unwrap();
        assert_eq!(time(moment), "2026-11-23T08:00:00Z");
        assert_eq!(count(1, "blob"), "1 blob");
    }
}
