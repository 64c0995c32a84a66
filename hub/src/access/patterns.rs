//! Patterns in sorted lists: one search finds all that mean a name, however many there are.
//!
//! The prefixes of a name lie in each other. So the last prefix that is not after the name in the sorted
//! list either begins it, or lies within all that do: following each to the one around it meets all of
//! them. The first bytes of all names stand in a list of their own, so that most of a search stays in one
//! stretch of memory.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

use proto::Pattern;

/// What is kept for each of some patterns.
#[derive(Debug)]
pub(super) struct Patterns<T> {
    /// For `*`.
    every: Option<T>,
    /// For single names, sorted.
    literals: Vec<(Box<str>, T)>,
    literal_heads: Vec<u128>,
    /// For prefixes, sorted.
    prefixes: Vec<Prefix<T>>,
    prefix_heads: Vec<u128>,
}

#[derive(Debug)]
struct Prefix<T> {
    text: Box<str>,
    value: T,
    /// The longest other prefix that this one begins with.
    around: Option<usize>,
}

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Self {
            every: None,
            literals: Vec::new(),
            literal_heads: Vec::new(),
            prefixes: Vec::new(),
            prefix_heads: Vec::new(),
        }
    }
}

impl<T> Patterns<T> {
    pub(super) fn of(entries: BTreeMap<Pattern, T>) -> Self {
        let mut patterns = Self::default();
        for (pattern, value) in entries {
            match pattern.prefix() {
                Some("") => patterns.every = Some(value),
                Some(prefix) => {
                    patterns.prefixes.push(Prefix { text: prefix.into(), value, around: None });
                }
                None => patterns.literals.push((pattern.as_str().into(), value)),
            }
        }
        // With their stars they were sorted otherwise.
        patterns.prefixes.sort_by(|one, other| one.text.cmp(&other.text));
        let mut outer: Vec<usize> = Vec::new();
        for index in 0..patterns.prefixes.len() {
            let begins = |around: &usize| match (patterns.prefixes.get(index), patterns.prefixes.get(*around))
            {
                (Some(prefix), Some(around)) => prefix.text.starts_with(&*around.text),
                _ => false,
            };
            while outer.last().is_some_and(|around| !begins(around)) {
                outer.pop();
            }
            let around = outer.last().copied();
            if let Some(prefix) = patterns.prefixes.get_mut(index) {
                prefix.around = around;
            }
            outer.push(index);
        }
        patterns.literal_heads = patterns.literals.iter().map(|(text, _)| head(text)).collect();
        patterns.prefix_heads = patterns.prefixes.iter().map(|prefix| head(&prefix.text)).collect();
        patterns
    }

    /// Whether `holds` is true for any pattern that means `name`; for a pattern that means every name if
    /// there is no `name`.
    pub(super) fn any(&self, name: Option<&str>, holds: impl Fn(&T) -> bool) -> bool {
        if self.every.as_ref().is_some_and(&holds) {
            return true;
        }
        let Some(name) = name else { return false };
        let head = head(name);
        let alike = self.literals.get(same(&self.literal_heads, head)).unwrap_or_default();
        let found = alike.binary_search_by(|(literal, _)| step(&**literal, name));
        if found.ok().and_then(|at| alike.get(at)).is_some_and(|(_, value)| holds(value)) {
            return true;
        }
        let range = same(&self.prefix_heads, head);
        let alike = self.prefixes.get(range.clone()).unwrap_or_default();
        let after = alike.partition_point(|prefix| step(&*prefix.text, name) != Ordering::Greater);
        let mut at = (range.start + after).checked_sub(1);
        while let Some(prefix) = at.and_then(|at| self.prefixes.get(at)) {
            if name.starts_with(&*prefix.text) && holds(&prefix.value) {
                return true;
            }
            at = prefix.around;
        }
        false
    }

    /// All values.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        let literals = self.literals.iter().map(|(_, value)| value);
        self.every.iter().chain(literals).chain(self.prefixes.iter().map(|prefix| &prefix.value))
    }
}

/// The first bytes of a text as a number: of two texts the lesser never has the larger.
fn head(text: &str) -> u128 {
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    u128::from_be_bytes(bytes)
}

/// Where in these sorted heads this one is.
fn same(heads: &[u128], head: u128) -> Range<usize> {
    let start = heads.partition_point(|other| step(other, &head) == Ordering::Less);
    let end = heads.partition_point(|other| step(other, &head) != Ordering::Greater);
    start..end
}

/// Compares, and under test counts how often.
fn step<V: Ord + ?Sized>(one: &V, other: &V) -> Ordering {
    #[cfg(test)]
    steps::count();
    one.cmp(other)
}

/// How many comparisons look-ups took, on this thread.
#[cfg(test)]
pub(super) mod steps {
    use std::cell::Cell;

    thread_local! {
        static STEPS: Cell<u64> = const { Cell::new(0) };
    }

    pub(in crate::access) fn count() {
        STEPS.set(STEPS.get() + 1);
    }

    pub(in crate::access) fn taken() -> u64 {
        STEPS.get()
    }
}
