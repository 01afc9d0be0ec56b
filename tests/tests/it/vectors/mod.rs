//! The vectors of PROTOCOL.md §14: each is taken from the document and has a test here.

mod calls;
mod control;
mod frames;
mod items;

use std::collections::BTreeMap;

use muxado_tests::hex;

/// The document.
const PROTOCOL: &str = include_str!("../../../../PROTOCOL.md");

/// The vectors under headings that begin with `section`, by name.
fn vectors(section: &str) -> BTreeMap<&'static str, Vec<u8>> {
    let (mut vectors, mut name) = (BTreeMap::<_, String>::new(), None);
    let (mut within, mut fenced) = (false, false);
    for line in PROTOCOL.lines() {
        match line {
            "```hex" => fenced = true,
            "```" => (fenced, name) = (false, None),
            _ if line.starts_with("### ") && !fenced => within = line[4..].starts_with(section),
            _ if !fenced || !within || line.is_empty() => {}
            _ => match line.strip_prefix("# ") {
                Some(title) => {
                    let (this, _note) = title.split_once(": ").expect("a vector has a name and a note");
                    assert!(vectors.insert(this, String::new()).is_none(), "two vectors are named {this}");
                    name = Some(this);
                }
                None => {
                    let name = name.expect("bytes follow a name");
                    vectors.get_mut(name).expect("it was just inserted").push_str(line);
                }
            },
        }
    }
    vectors.into_iter().map(|(name, text)| (name, hex(&text))).collect()
}

/// The bytes of one vector.
fn vector(name: &str) -> Vec<u8> {
    let mut vectors = vectors("14.");
    vectors.remove(name).unwrap_or_else(|| panic!("PROTOCOL.md has no vector {name}"))
}

#[test]
fn every_vector_is_in_a_section_that_is_tested() {
    let sections = ["14.1", "14.2", "14.3", "14.4", "14.5", "14.6"].map(|section| vectors(section).len());
    assert_eq!(sections.iter().sum::<usize>(), vectors("14.").len());
    assert!(sections.iter().all(|count| *count >= 3), "{sections:?}");
}
