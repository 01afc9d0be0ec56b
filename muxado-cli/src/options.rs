//! What the options of several commands have in common: headings of the help, and how times are written.

use std::time::Duration;

/// The part of the help on connections. (The heading of a whole group would go on behind it.)
pub(crate) const CONNECTION: &str = "Connection";

/// Reads a time: a number with a unit, or of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "us" => 0.000_001,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("`{unit}` is no unit of time; there are us, ms, s, m and h")),
    };
    let number: f64 = digits.parse().map_err(|_| "not a number with a unit, as in 500ms or 2s".to_owned())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| "no such time".to_owned())
}
