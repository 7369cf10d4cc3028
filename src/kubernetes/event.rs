//! Events, which tell people what became of an object.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

/// The text of an event.
#[derive(Clone, Copy, Debug)]
pub struct EventText<'a> {
    /// `Normal` or `Warning`.
    pub kind: &'a str,
    /// The reason in one word.
    pub reason: &'a str,
    /// The message for people.
    pub message: &'a str,
    /// The field that it is about, such as `spec.dtab`.
    pub field: Option<&'a str>,
    /// The program that tells it.
    pub component: &'a str,
}

/// How many characters of a message an event has at most: the API server allows 1,024 bytes.
const MOST_TOLD: usize = 250;

/// Makes an event about an object of a kind.
pub fn event_about<K: k8s_openapi::Resource>(object: &ObjectMeta, text: EventText<'_>) -> Event {
    let now = || Some(Time(Timestamp::now()));
    let name = object.name.as_deref().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}.")),
            namespace: object.namespace.clone(),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(K::API_VERSION.to_owned()),
            kind: Some(K::KIND.to_owned()),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: object.uid.clone(),
            resource_version: object.resource_version.clone(),
            field_path: text.field.map(str::to_owned),
        },
        type_: Some(text.kind.to_owned()),
        reason: Some(text.reason.to_owned()),
        message: Some(text.message.chars().take(MOST_TOLD).collect()),
        count: Some(1),
        first_timestamp: now(),
        last_timestamp: now(),
        source: Some(EventSource { component: Some(text.component.to_owned()), host: None }),
        ..Event::default()
    }
}
