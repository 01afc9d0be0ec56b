//! How large numbers, and how long texts and arrays, may be.

use std::fmt;

use serde_json::{Map, Value};

/// A range, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    least: f64,
    most: f64,
    /// What it is a range of: `""` for the number itself, else `long` or `many`.
    of: &'static str,
}

impl Range {
    /// Returns whether all of another is in this one.
    pub(super) fn contains(&self, other: &Self) -> bool {
        self.least <= other.least && other.most <= self.most
    }
}

/// The range of numbers.
pub(super) fn numbers(members: &Map<String, Value>) -> Range {
    let format = members.get("format").and_then(Value::as_str).unwrap_or_default();
    let (least, most) = bounds_of(format);
    let number = |key: &str| members.get(key).and_then(Value::as_f64);
    Range {
        least: number("minimum").map_or(least, |own| own.max(least)),
        most: number("maximum").map_or(most, |own| own.min(most)),
        of: "",
    }
}

/// What the name of an integer type says of its bounds.
fn bounds_of(format: &str) -> (f64, f64) {
    let bits = |name: &str| format.strip_prefix(name)?.parse::<i32>().ok();
    match (bits("int"), bits("uint")) {
        (Some(bits), _) => (-(2_f64.powi(bits - 1)), 2_f64.powi(bits - 1) - 1.0),
        (_, Some(bits)) => (0.0, 2_f64.powi(bits) - 1.0),
        // Those of the size of a pointer.
        _ if format == "int" => bounds_of("int64"),
        _ if format == "uint" => bounds_of("uint64"),
        _ => (f64::NEG_INFINITY, f64::INFINITY),
    }
}

/// The range of lengths: `minLength` and `maxLength`, or `minItems` and `maxItems`.
pub(super) fn counts(members: &Map<String, Value>, what: &str, of: &'static str) -> Range {
    let count = |which: &str| members.get(&format!("{which}{what}")).and_then(Value::as_f64);
    Range { least: count("min").unwrap_or(0.0), most: count("max").unwrap_or(f64::INFINITY), of }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, most, of } = self;
        let of = if of.is_empty() { String::new() } else { format!(" {of}") };
        match (least.is_finite(), most.is_finite()) {
            (true, true) if least == most => write!(f, "{}{of}", Bound(*least)),
            (true, true) => write!(f, "{} to {}{of}", Bound(*least), Bound(*most)),
            (true, false) => write!(f, "{} or more{of}", Bound(*least)),
            (false, true) => write!(f, "{} or less{of}", Bound(*most)),
            (false, false) => write!(f, "any number{of}"),
        }
    }
}

/// A bound, as a power of two where it is a large one.
struct Bound(f64);

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exponent = self.0.abs().log2().round();
        if exponent < 31.0 {
            return write!(f, "{}", self.0);
        }
        // A bound of 64 bits and its neighbour are the same as a `f64`.
        let is_below = self.0 > 0.0;
        let (sign, below) = (if self.0 < 0.0 { "-" } else { "" }, if is_below { "-1" } else { "" });
        write!(f, "{sign}2^{exponent}{below}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn range(schema: &Value) -> String {
        numbers(schema.as_object().unwrap()).to_string()
    }

    #[test]
    fn ranges_are_those_of_the_types() {
        assert_eq!(range(&json!({"format": "uint8", "minimum": 0, "maximum": 255})), "0 to 255");
        assert_eq!(range(&json!({"format": "int32"})), "-2^31 to 2^31-1");
        assert_eq!(range(&json!({"format": "uint64", "minimum": 0})), "0 to 2^64-1");
        assert_eq!(range(&json!({"minimum": 1})), "1 or more");
        assert_eq!(range(&json!({"format": "double"})), "any number");
        let three = json!({"minItems": 3, "maxItems": 3});
        assert_eq!(counts(three.as_object().unwrap(), "Items", "many").to_string(), "3 many");
    }
}
