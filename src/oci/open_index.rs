//! An index that others write too.

use serde::de::Error as _;
use serde_json::{Map, Value, json};

use super::{Descriptor, MEDIA_INDEX};

/// An index to which entries are added. Whatever else is in it stays as it was written: entries whose
/// digest or fields are not known here, and annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIndex {
    document: Map<String, Value>,
    entries: Vec<Value>,
}

impl Default for OpenIndex {
    fn default() -> Self {
        let mut document = Map::new();
        document.insert("schemaVersion".into(), json!(2));
        document.insert("mediaType".into(), json!(MEDIA_INDEX));
        Self { document, entries: Vec::new() }
    }
}

impl OpenIndex {
    /// Reads an index.
    ///
    /// # Errors
    /// When the text is no JSON, or no index of schema version 2.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut document: Map<String, Value> = serde_json::from_slice(bytes)?;
        if document.get("schemaVersion") != Some(&json!(2)) {
            return Err(serde_json::Error::custom("it has no `schemaVersion` 2"));
        }
        match document.remove("manifests") {
            Some(Value::Array(entries)) if entries.iter().all(Value::is_object) => {
                Ok(Self { document, entries })
            }
            _ => Err(serde_json::Error::custom("it has no list of `manifests`")),
        }
    }

    /// The entries as descriptors, in order; an error for each that cannot be read as one.
    pub fn descriptors(&self) -> impl Iterator<Item = Result<Descriptor, serde_json::Error>> {
        self.entries.iter().map(|entry| serde_json::from_value(entry.clone()))
    }

    /// Adds an entry in the stead of those that it replaces.
    pub fn put(&mut self, entry: &Descriptor, replaces: impl Fn(&Descriptor) -> bool) {
        let is_replaced = |entry: &Value| {
            serde_json::from_value(entry.clone()).is_ok_and(|descriptor| replaces(&descriptor))
        };
        self.entries.retain(|entry| !is_replaced(entry));
        self.entries.push(json!(entry));
    }

    /// The document.
    pub fn to_json(&self) -> Vec<u8> {
        let mut document = self.document.clone();
        document.insert("manifests".into(), Value::Array(self.entries.clone()));
        serde_json::to_vec(&document).expect("JSON values are written")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Digest, ImageIndex, MEDIA_MANIFEST};

    #[test]
    fn what_is_not_known_stays() {
        let foreign = format!(
            r#"{{"mediaType":"{MEDIA_MANIFEST}","digest":"sha512:{}","size":1,"data":"e30="}}"#,
            "a".repeat(128)
        );
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{foreign}],"annotations":{{"a":"b"}},"artifactType":"x"}}"#
        );
        let mut index = OpenIndex::parse(text.as_bytes()).unwrap();
        assert!(index.descriptors().all(|entry| entry.is_err()));
        let own = Descriptor::new(MEDIA_MANIFEST, Digest::of(b"x"), 1);
        for _ in 0..2 {
            index.put(&own, |entry| entry.digest == own.digest);
        }
        let written: Value = serde_json::from_slice(&index.to_json()).unwrap();
        let mut wanted: Value = serde_json::from_str(&text).unwrap();
        wanted["manifests"].as_array_mut().unwrap().push(json!(own));
        assert_eq!(written, wanted);
    }

    #[test]
    fn a_new_one_is_an_index() {
        let index: ImageIndex = serde_json::from_slice(&OpenIndex::default().to_json()).unwrap();
        assert_eq!((index.schema_version, index.media_type.as_deref()), (2, Some(MEDIA_INDEX)));
    }

    #[test]
    fn other_documents_are_no_index() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"schemaVersion":1,"manifests":[]}"#,
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":2,"manifests":[1]}"#,
        ] {
            assert!(OpenIndex::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
