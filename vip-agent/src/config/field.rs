//! A value of the file together with where it stands.

use std::borrow::Cow;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

/// A value that may be absent, and its byte range in the file.
///
/// Absence is not an error here: the structure check has already reported a missing required key,
/// and a value it found wrong was taken out so that the rest can still be checked.
#[derive(Debug, Clone)]
pub(super) struct Field<T> {
    value: Option<T>,
    span: Range<usize>,
}

impl<T> Field<T> {
    /// The value, if the file has a sound one.
    pub(super) const fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Where it stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Whether the file has a sound value.
    pub(super) const fn is_set(&self) -> bool {
        self.value.is_some()
    }
}

impl<T: Copy> Field<T> {
    /// The value, or what holds without one.
    pub(super) fn or(&self, default: T) -> T {
        self.value.unwrap_or(default)
    }
}

impl<T> Field<Vec<Field<T>>> {
    /// The sound elements of a list with their places.
    pub(super) fn elements(&self) -> impl Iterator<Item = (&T, Range<usize>)> {
        self.value
            .iter()
            .flatten()
            .filter_map(|element| Some((element.get()?, element.span())))
    }
}

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self {
            value: None,
            span: 0..0,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(deserializer)?;
        let span = spanned.span();
        Ok(Self {
            value: Some(spanned.into_inner()),
            span,
        })
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}
