//! Names and values that travel with a request or a response.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

use crate::support::truncate::Brief;

/// Names and values that travel with a request or a response, such as tokens and trace ids.
///
/// Names are unique and case-sensitive, and keep their order. [`Limits::max_metadata_size`] limits how much one
/// message may carry. Empty metadata costs nothing. `Debug` shows names only, because values may be secrets, such as
/// tokens.
///
/// ```
/// use muxado_rpc::Metadata;
///
/// let mut metadata = Metadata::new();
/// metadata.insert("tenant", "blue");
/// assert_eq!(metadata.get("tenant"), Some("blue"));
/// ```
///
/// [`Limits::max_metadata_size`]: crate::Limits::max_metadata_size
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    entries: Vec<(String, String)>,
    /// Bytes that were received above all limits, and not kept.
    excess: usize,
}

impl Metadata {
    /// Creates metadata without entries.
    pub const fn new() -> Self {
        Self { entries: Vec::new(), excess: 0 }
    }

    /// Sets the value of a name. Returns the previous value, if there was one.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) -> Option<String> {
        let (name, value) = (name.into(), value.into());
        match self.entries.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                self.entries.push((name, value));
                None
            }
        }
    }

    /// Removes a name. Returns its value, if there was one.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let at = self.entries.iter().position(|(known, _)| known == name)?;
        Some(self.entries.remove(at).1)
    }

    /// Returns the value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// Returns an iterator over names and values, in the order of insertion.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the size of all names and values in bytes, which [`Limits::max_metadata_size`] limits.
    ///
    /// [`Limits::max_metadata_size`]: crate::Limits::max_metadata_size
    pub fn size(&self) -> usize {
        self.excess + self.entries.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// Sets all given values.
impl Extend<(String, String)> for Metadata {
    fn extend<I: IntoIterator<Item = (String, String)>>(&mut self, entries: I) {
        for (name, value) in entries {
            self.insert(name, value);
        }
    }
}

impl IntoIterator for Metadata {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<(String, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(entries: I) -> Self {
        let mut metadata = Self::new();
        for (name, value) in entries {
            metadata.insert(name, value);
        }
        metadata
    }
}

impl<N: Into<String>, V: Into<String>, const LEN: usize> From<[(N, V); LEN]> for Metadata {
    fn from(entries: [(N, V); LEN]) -> Self {
        entries.into_iter().collect()
    }
}

/// Shows names only, because values may be secrets.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Brief(Names(self)))
    }
}

struct Names<'a>(&'a Metadata);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MetadataVisitor)
    }
}

/// Largest limit for metadata, in bytes.
pub(crate) const MAX_METADATA: usize = 256 * 1024;

/// Most entries of received metadata; with more it counts as over every limit.
const MAX_ENTRIES: usize = 16 * 1024;

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of strings to strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
        let mut metadata = Metadata::new();
        let mut stored = 0;
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            let size = name.len() + value.len();
            if stored > MAX_METADATA || metadata.entries.len() == MAX_ENTRIES {
                // Too much for any limit: only its size is of interest.
                metadata.excess = metadata.excess.max(MAX_METADATA) + size;
            } else {
                stored += size;
                metadata.entries.push((name, value));
            }
        }
        metadata.drop_repeated_names();
        Ok(metadata)
    }
}

impl Metadata {
    /// Of entries with one name the last stays. Sorting keeps a peer's ten thousand names from
    /// costing a hundred million comparisons.
    fn drop_repeated_names(&mut self) {
        if self.entries.len() < 2 {
            return;
        }
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by(|a, b| (&self.entries[*a].0, a).cmp(&(&self.entries[*b].0, b)));
        let mut keep = vec![true; self.entries.len()];
        for pair in order.windows(2) {
            keep[pair[0]] = self.entries[pair[0]].0 != self.entries[pair[1]].0;
        }
        let mut keep = keep.into_iter();
        self.entries.retain(|_| keep.next().unwrap_or(true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_keep_their_order() {
        let mut metadata = Metadata::from([("a", "1"), ("b", "2")]);
        assert_eq!(metadata.insert("a", "3").as_deref(), Some("1"));
        assert_eq!(metadata.iter().collect::<Vec<_>>(), [("a", "3"), ("b", "2")]);
        assert_eq!(metadata.remove("a").as_deref(), Some("3"));
        assert_eq!((metadata.len(), metadata.size(), metadata.get("a")), (1, 2, None));
    }

    #[test]
    fn debug_shows_names_only() {
        let metadata = Metadata::from([("token", "s3cret"), ("a\n", "s3cret")]);
        assert_eq!(format!("{metadata:?}"), r#"{"token", "a\n"}"#);
        assert!(!format!("{metadata:#?}").contains("s3cret"));
        let many: Metadata = (0..1000).map(|n| (n.to_string(), "s3cret")).collect();
        assert_eq!(format!("{many:?}").len(), 256);
    }

    #[test]
    fn of_repeated_names_on_the_wire_the_last_counts() {
        let metadata: Metadata = serde_json::from_str(r#"{"a":"1","b":"2","a":"3","a":"4"}"#).unwrap();
        assert_eq!(metadata, Metadata::from([("b", "2"), ("a", "4")]));
    }

    #[test]
    fn it_is_a_plain_map_in_both_codecs() {
        let metadata = Metadata::from([("a", "1"), ("b", "2")]);
        assert_eq!(serde_json::to_string(&metadata).unwrap(), r#"{"a":"1","b":"2"}"#);
        let packed = rmp_serde::to_vec(&metadata).unwrap();
        assert_eq!(packed, b"\x82\xa1a\xa11\xa1b\xa12");
        assert_eq!(rmp_serde::from_slice::<Metadata>(&packed).unwrap(), metadata);
    }
}
