//! A histogram as people read it: some bins whose edges are round numbers, each wider than the last.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The calls that took at least `from` and less than `to`, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Bin {
    pub(crate) from_us: f64,
    pub(crate) to_us: f64,
    pub(crate) calls: u64,
}

/// Edges of a decade, in tenths: coarse to fine.
const SERIES: [&[u64]; 4] =
    [&[10], &[10, 20, 50], &[10, 15, 20, 30, 50, 70], &[10, 12, 15, 18, 22, 27, 33, 39, 47, 56, 68, 82]];

/// More are not read. What spreads over more decades than this has one bin for each.
const MAX_BINS: usize = 16;

/// Returns the bins of a histogram of nanoseconds, from the one of the least value to that of the greatest: the finest of
/// which there are at most 16. An empty histogram has no bins.
pub(crate) fn bins(histogram: &Histogram<u64>) -> Vec<Bin> {
    if histogram.is_empty() {
        return Vec::new();
    }
    // A value has three digits: one on an edge may have become a little less than it.
    let (min, max) = (histogram.highest_equivalent(histogram.min()), histogram.max());
    let edges =
        SERIES.iter().rev().map(|series| edges(series, min, max)).find(|edges| edges.len() <= MAX_BINS + 1);
    let edges = edges.unwrap_or_else(|| self::edges(SERIES[0], min, max));
    let micros = |tenths: u64| tenths as f64 / 10_000.0;
    let mut bins: Vec<_> = edges
        .windows(2)
        .map(|edge| Bin { from_us: micros(edge[0]), to_us: micros(edge[1]), calls: 0 })
        .collect();
    for value in histogram.iter_recorded() {
        let tenths = value.value_iterated_to().saturating_mul(10);
        let at = edges.partition_point(|edge| *edge <= tenths).saturating_sub(1).min(bins.len() - 1);
        bins[at].calls += value.count_at_value();
    }
    bins
}

/// Returns the edges around all values, in tenths of a nanosecond.
fn edges(series: &[u64], min: u64, max: u64) -> Vec<u64> {
    let (min, max) = (min.saturating_mul(10), max.saturating_mul(10));
    let mut edges = vec![0];
    let decades = (0..19).filter_map(|exponent| 10_u64.checked_pow(exponent));
    for edge in decades.flat_map(|decade| series.iter().filter_map(move |edge| edge.checked_mul(decade))) {
        if edge <= min {
            edges.clear();
        }
        edges.push(edge);
        if edge > max {
            break;
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[(u64, u64)]) -> Vec<(f64, f64, u64)> {
        let mut histogram = Histogram::new(3).unwrap();
        for (value, count) in values {
            histogram.record_n(*value, *count).unwrap();
        }
        bins(&histogram).into_iter().map(|bin| (bin.from_us, bin.to_us, bin.calls)).collect()
    }

    #[test]
    fn each_value_is_in_the_bin_whose_edges_are_around_it() {
        assert_eq!(
            of(&[(100_000, 7), (119_000, 1), (125_000, 2), (199_000, 3)]),
            [(100.0, 120.0, 8), (120.0, 150.0, 2), (150.0, 180.0, 0), (180.0, 220.0, 3)]
        );
    }

    #[test]
    fn there_are_few_however_far_the_values_spread() {
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[(5, 1)]), [(0.0047, 0.0056, 1)]);
        for max in [10, 1_000, 1_000_000, 3_600_000_000_000, u64::MAX / 4] {
            let bins = of(&[(1, 1), (max, 1)]);
            assert!(bins.len() <= 20, "{max}: {bins:?}");
            assert_eq!(bins.iter().map(|bin| bin.2).sum::<u64>(), 2, "{max}");
            assert!(bins.windows(2).all(|pair| pair[0].1 == pair[1].0), "{bins:?}");
        }
    }

    #[test]
    fn values_of_no_time_have_a_bin() {
        assert_eq!(of(&[(0, 3)]).iter().map(|bin| bin.2).sum::<u64>(), 3);
    }
}
