//! Imports of every form that lead up.

#[path = "elsewhere/odd.rs"]
mod odd;
mod nested;

use crate::high::Thing;
use crate::{mid::Half as Part, high::deep::{self, Deeper}};
pub use crate::high::*;
use crate as house;

mod inline {
    use super::super::high::Thing;
    pub(crate) use super::super::*;
    use super::nested::fine;
}

#[crate::high::mark]
struct Marked {
    #[serde(with = "crate::high::encode")]
    field: u8,
}

fn expression(part: &crate::Half) -> <crate::high::Thing as Iterator>::Item {
    super::high::work::<self::inline::Kind>();
    match part {
        crate::high::THING => vec![self.x, signposts::high],
        _ => {}
    }
    println!("{} {}", crate::high::work(|| 1), crate::{mid::Half, high});
    crate::of_the_root();
}
