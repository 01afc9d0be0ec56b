//! A measurement as text for a terminal.

use std::fmt::Write;

use super::{
    arrivals::Arrivals,
    bins::Bin,
    summary::{RateSummary, Summary, Times},
};
use crate::output::visible;

/// Returns the lines.
pub(crate) fn text(summary: &Summary) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    _ = write(&mut text, summary);
    text.truncate(text.trim_end().len());
    text
}

fn write(text: &mut String, summary: &Summary) -> std::fmt::Result {
    let setup = &summary.setup;
    writeln!(text, "{} at {}, in {}", setup.method, setup.address, setup.codec)?;
    let (connections, threads) = (count(setup.connections, "connection"), count(setup.threads, "thread"));
    writeln!(text, "{connections}, {} in flight, {threads}\n", setup.in_flight)?;
    let how = match summary.ended_by {
        "interrupted" => ", interrupted",
        "disconnected" => ", ended with the last connection",
        _ => "",
    };
    line(text, "time", &format!("{:.2} s{how}", summary.elapsed.as_secs_f64()))?;
    line(text, "calls", &format!("{}, {}", summary.calls, rate(summary.calls_per_s)))?;
    if summary.items_sent > 0 {
        line(text, "items sent", &summary.items_sent.to_string())?;
    }
    if summary.items_received > 0 {
        let per_second = rate(summary.items_received_per_s);
        line(text, "items", &format!("{}, {per_second}", summary.items_received))?;
    }
    if summary.failed > 0 {
        let share = 100.0 * summary.failed as f64 / summary.calls as f64;
        line(text, "failed", &format!("{} ({share:.2} %)", summary.failed))?;
    }
    if summary.unfinished > 0 {
        line(text, "unfinished", &format!("{}; given up at the end", summary.unfinished))?;
    }
    if let Some(of) = &summary.rate {
        write_rate(text, of, setup.in_flight)?;
    }
    let Some(latency) = &summary.latency_us else { return Ok(()) };
    write_latency(text, latency, summary.rate.is_some())?;
    writeln!(text)?;
    histogram(text, &summary.histogram)?;
    if !summary.failures.is_empty() {
        write_statuses(text, summary)?;
    }
    Ok(())
}

fn line(text: &mut String, name: &str, value: &str) -> std::fmt::Result {
    writeln!(text, "  {name:<11}{value}")
}

fn write_rate(text: &mut String, of: &RateSummary, in_flight: usize) -> std::fmt::Result {
    let arrivals = match of.arrivals {
        Arrivals::Constant => "constant",
        Arrivals::Poisson => "at random",
    };
    line(text, "rate", &format!("{} asked, {arrivals}", rate(of.asked_per_s)))?;
    line(text, "", &format!("{} begun", rate(of.begun_per_s)))?;
    if let Some(late) = &of.late_us {
        let (p99, max) = (micros(late.p99), micros(late.max));
        line(text, "begun late", &format!("{p99} (99 %), {max} (max)"))?;
    }
    if !of.held {
        let not_begun = of.not_begun;
        writeln!(text, "\n  The rate could not be held: {not_begun} calls were due and had not")?;
        writeln!(text, "  begun at the end. They count with the time that they had waited.")?;
    } else if of.late_us.is_some_and(|late| late.p99 >= LATE_US) {
        writeln!(text, "\n  Calls began late: all {in_flight} in flight were busy")?;
        writeln!(text, "  (--in-flight), or this machine. Their latency has it.")?;
    }
    Ok(())
}

/// From here on it is said why calls began late, in microseconds.
const LATE_US: f64 = 5_000.0;

fn write_latency(text: &mut String, latency: &Times, is_open: bool) -> std::fmt::Result {
    let from = if is_open { ", from when each call was due" } else { "" };
    writeln!(text, "\nLatency{from}\n")?;
    line(text, "mean", &format!("{}, deviation {}", micros(latency.mean), micros(latency.deviation)))?;
    line(text, "min", &micros(latency.min))?;
    for (name, value) in latency.quantiles() {
        line(text, name, &micros(value))?;
    }
    line(text, "max", &micros(latency.max))
}

/// Draws a histogram, one bin a line, of at most 60 columns.
fn histogram(text: &mut String, bins: &[Bin]) -> std::fmt::Result {
    let most = bins.iter().map(|bin| bin.calls).max().unwrap_or(0).max(1);
    let digits = most.to_string().len();
    for bin in bins {
        let (from, to) = (micros(bin.from_us), micros(bin.to_us));
        let bar = bar(bin.calls as f64 / most as f64);
        let row = format!("  {from:>8} .. {to:>8}  {:>digits$} {bar}", bin.calls);
        writeln!(text, "{}", row.trim_end())?;
    }
    Ok(())
}

/// A bar of eighths of a column. What is there is seen, however little it is.
fn bar(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share * BAR as f64 * 8.0).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { eighths };
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// Columns of the longest bar.
const BAR: usize = 24;

fn write_statuses(text: &mut String, summary: &Summary) -> std::fmt::Result {
    writeln!(text, "\nStatus\n")?;
    let ok = summary.calls - summary.failed;
    if ok > 0 {
        writeln!(text, "  {:<20}{ok}", "ok")?;
    }
    for failures in &summary.failures {
        writeln!(text, "  {:<20}{}", failures.status, failures.calls)?;
        if !failures.message.is_empty() {
            writeln!(text, "      {}", visible(&failures.message.replace('\n', " ")))?;
        }
    }
    Ok(())
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A number a second.
pub(crate) fn rate(per_second: f64) -> String {
    format!("{}/s", significant(per_second, 4))
}

/// A time, given in microseconds.
pub(crate) fn micros(micros: f64) -> String {
    if micros < 1.0 {
        format!("{} ns", significant(micros * 1e3, 3))
    } else if micros < 1e3 {
        format!("{} us", significant(micros, 3))
    } else if micros < 1e6 {
        format!("{} ms", significant(micros / 1e3, 3))
    } else {
        format!("{} s", significant(micros / 1e6, 3))
    }
}

/// A number with so many digits, and all of those in front of the point.
fn significant(number: f64, digits: usize) -> String {
    let before = if number < 1.0 { 1 } else { number.log10() as usize + 1 };
    let text = format!("{number:.*}", digits.saturating_sub(before));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let times = [0.0, 0.5, 1.0, 12.34, 123.4, 999.4, 1_000.0, 45_600.0, 7_000_000.0, 3_600_000_000.0];
        let shown: Vec<_> = times.into_iter().map(micros).collect();
        assert_eq!(
            shown,
            ["0 ns", "500 ns", "1 us", "12.3 us", "123 us", "999 us", "1 ms", "45.6 ms", "7 s", "3600 s"]
        );
        assert_eq!(rate(187_654.3), "187654/s");
        assert_eq!(rate(12.345), "12.35/s");
    }

    #[test]
    fn a_histogram_fits_into_60_columns_and_shows_every_call() {
        let bins = [
            Bin { from_us: 180.0, to_us: 220.0, calls: 1_234_567 },
            Bin { from_us: 220.0, to_us: 270.0, calls: 0 },
            Bin { from_us: 270.0, to_us: 330.0, calls: 1 },
        ];
        let mut drawn = String::new();
        histogram(&mut drawn, &bins).unwrap();
        let lines: Vec<_> = drawn.lines().collect();
        assert_eq!(lines[0], format!("    180 us ..   220 us  1234567 {}", "█".repeat(24)));
        assert_eq!(lines[1], "    220 us ..   270 us        0");
        assert_eq!(lines[2], "    270 us ..   330 us        1 ▏");
        assert!(lines.iter().all(|line| line.chars().count() <= 60));
    }
}
