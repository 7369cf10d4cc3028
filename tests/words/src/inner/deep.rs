//! Types that stand twice.

pub struct Thing;

pub struct Closed;
pub enum Closed {}

fn inside() {
    pub struct Metrics;
    trait Thing {}
}
