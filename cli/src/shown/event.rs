//! Events as people and programs see them.

use proto::Event;

use crate::output::Shown;

/// Characters of data that a line for people shows.
const DATA_CHARS_SHOWN: usize = 120;

impl Shown for Event {
    fn for_people(&self) -> String {
        format!(
            "{:>8}  {}  {}/{} v{}  {}  {}",
            self.position.0,
            self.timestamp,
            self.domain,
            self.pid,
            self.version,
            self.name,
            cut(self.data.as_str(), DATA_CHARS_SHOWN)
        )
    }
}

/// `text` on one line, cut to `chars`.
pub(crate) fn cut(text: &str, chars: usize) -> String {
    let mut cut: String = text.chars().take(chars).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(chars).is_some() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_and_stays_on_one_line() {
        assert_eq!(cut("ab\ncd", 5), "ab cd");
        assert_eq!(cut("öäüß", 3), "öäü…");
    }
}
