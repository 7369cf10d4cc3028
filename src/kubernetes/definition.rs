//! Comparisons of our own resources with their definitions in `examples/kubernetes`, for tests.

use serde_json::{Map, Value, json};

/// Reads the definition of a kind from a file of `examples/kubernetes`; its scalars are read as texts.
pub(crate) fn definition(file: &str, kind: &str) -> Value {
    let path = format!("{}/examples/kubernetes/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let documents =
        text.split("\n---\n").map(|document| marked_yaml::from_yaml::<Value>(0, document).unwrap());
    documents.into_iter().find(|document| document["spec"]["names"]["kind"] == kind).unwrap()
}

/// Checks that a definition names a resource as the client does.
pub(crate) fn assert_named<K: k8s_openapi::Resource>(definition: &Value) {
    let spec = &definition["spec"];
    let (group, plural) = (K::GROUP, K::URL_PATH_SEGMENT);
    assert_eq!(definition["metadata"]["name"], format!("{plural}.{group}"));
    assert_eq!((&spec["group"], &spec["scope"]), (&json!(group), &json!("Namespaced")));
    assert_eq!(spec["names"]["kind"], K::KIND);
    assert_eq!(spec["names"]["plural"], plural);
    let versions = spec["versions"].as_array().unwrap();
    assert_eq!(versions.len(), 1);
    assert_eq!(versions[0]["name"], K::VERSION);
    assert!(versions[0]["subresources"]["status"].is_object(), "the status is written by itself");
}

/// Checks that a definition describes every field of an object that has all of them, and no other.
pub(crate) fn assert_complete<K: k8s_openapi::Resource>(definition: &Value, mut full: Value) {
    full["apiVersion"] = K::API_VERSION.into();
    full["kind"] = K::KIND.into();
    let schema = schema(definition);
    // The API server describes metadata itself.
    assert_eq!(schema["properties"]["metadata"], json!({ "type": "object" }));
    let mut schema = schema.clone();
    schema["properties"]["metadata"]["properties"] = json!({});
    assert_described(&schema, &full, K::KIND);
    assert_eq!(schema["required"], json!(["spec"]));
}

/// Returns the schema in a definition.
pub(crate) fn schema(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

/// Returns the name and the path of each column.
pub(crate) fn columns(definition: &Value) -> Vec<(&str, &str)> {
    let columns = definition["spec"]["versions"][0]["additionalPrinterColumns"].as_array().unwrap();
    columns
        .iter()
        .map(|column| (column["name"].as_str().unwrap(), column["jsonPath"].as_str().unwrap()))
        .collect()
}

/// Compares a schema with a value of every field: both name the same fields, of the same types. A map of strings has one
/// schema for all.
fn assert_described(schema: &Value, value: &Value, at: &str) {
    let kind = match value {
        Value::Object(entries) if !schema["additionalProperties"].is_null() => {
            entries.values().for_each(|entry| assert_described(&schema["additionalProperties"], entry, at));
            "object"
        }
        Value::Object(fields) => {
            let described = schema["properties"].as_object().expect(at);
            let named = |names: &Map<String, Value>| names.keys().cloned().collect::<Vec<_>>();
            assert_eq!(named(described), named(fields), "{at}");
            for (name, field) in fields {
                assert_described(&schema["properties"][name], field, &format!("{at}.{name}"));
            }
            "object"
        }
        Value::Array(items) => {
            items.iter().for_each(|item| assert_described(&schema["items"], item, &format!("{at}[]")));
            "array"
        }
        Value::String(_) => "string",
        Value::Number(_) => "integer",
        Value::Bool(_) | Value::Null => panic!("{at}: there is no such field"),
    };
    assert_eq!(schema["type"], kind, "{at}");
    assert!(schema["description"].is_string() || at.ends_with(".metadata"), "{at} has no description");
}
