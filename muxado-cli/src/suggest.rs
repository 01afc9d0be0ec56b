//! Names that may have been meant.

/// Returns the known names that are like this one, the nearest first, and at most three.
pub(crate) fn similar<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let name = name.to_lowercase();
    let mut found: Vec<_> = known
        .into_iter()
        .filter_map(|candidate| distance(&name, &candidate.to_lowercase()).map(|far| (far, candidate)))
        .collect();
    found.sort();
    found.dedup();
    found.truncate(3);
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Returns how far two names are apart; `None` if one is no misspelling of the other.
fn distance(name: &str, candidate: &str) -> Option<usize> {
    let edits = strsim::osa_distance(name, candidate);
    let length = name.chars().count().max(candidate.chars().count());
    let is_part = name.len() >= 3 && (candidate.starts_with(name) || candidate.ends_with(name));
    if edits <= (length / 3).max(1) && edits < length {
        Some(edits)
    } else {
        // A name that was not written to its end, or without what stands in front of it.
        is_part.then_some(length)
    }
}

/// Returns "did you mean `a` or `b`?", or nothing.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let quoted: Vec<_> = similar(name, known).into_iter().map(|name| format!("`{name}`")).collect();
    let (last, others) = quoted.split_last()?;
    Some(match others {
        [] => format!("did you mean {last}?"),
        others => format!("did you mean {} or {last}?", others.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_are_found_and_others_are_not() {
        let known = ["send", "follow", "weigh", "ring", "muxado.Health"];
        for (name, found) in [
            ("sned", &["send"][..]),
            ("Send", &["send"]),
            ("folow", &["follow"]),
            ("rign", &["ring"]),
            ("wei", &["weigh"]),
            ("Health", &["muxado.Health"]),
            ("delete", &[]),
            ("x", &[]),
        ] {
            assert_eq!(similar(name, known), found, "{name}");
        }
        assert_eq!(did_you_mean("sed", ["send", "seed", "x"]).unwrap(), "did you mean `seed` or `send`?");
    }
}
