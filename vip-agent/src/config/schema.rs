//! The JSON schema of the file: printed by `vip-agent schema`, enforced by the structure check.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::raw;

/// The schema (JSON Schema 2020-12), without references. Besides the standard keywords it has
/// `x-minimum` and `x-maximum` for durations, whose order JSON Schema cannot express.
#[must_use]
pub fn json_schema() -> Value {
    SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<raw::File>()
        .to_value()
}
