pub use super::super::high::Thing;
