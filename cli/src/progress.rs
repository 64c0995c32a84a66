//! How far long work is: a bar on standard error where that is a terminal, nothing elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for work of so many steps; without a number, something that moves.
///
/// Where standard error is no terminal it draws nothing.
pub(crate) fn bar(steps: Option<u64>) -> ProgressBar {
    let Some(steps) = steps else { return ProgressBar::new_spinner() };
    let style = "{bar:30} {percent:>3} %  {msg}  {elapsed}, {eta} to go";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(steps).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_drawn_where_nobody_looks() {
        // Tests run with standard error in a file or pipe.
        if !std::io::IsTerminal::is_terminal(&std::io::stderr()) {
            assert!(bar(Some(10)).is_hidden());
            assert!(bar(None).is_hidden());
        }
    }
}
