//! Asking whoever is at the terminal before something is done that cannot be undone.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::{Failure, Outcome};

/// Whether a person says yes to `question`. Where nobody can be asked it fails, and `instead` says what to do.
pub(crate) fn confirmed(question: &str, instead: &str) -> Outcome<bool> {
    let (mut input, mut output) = (io::stdin().lock(), io::stderr());
    if !input.is_terminal() || !output.is_terminal() {
        return Err(Failure::usage(instead));
    }
    asked(question, &mut input, &mut output).map_err(|error| Failure::failed(&error))
}

/// Asks. Only a plain yes is one.
fn asked(question: &str, input: &mut impl BufRead, output: &mut impl Write) -> io::Result<bool> {
    output.write_all(format!("{question} [y/N] ").as_bytes())?;
    output.flush()?;
    let mut answer = String::new();
    input.read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_yes_is_one() {
        for (answer, is_yes) in [
            ("y\n", true),
            ("Y\n", true),
            (" yes \n", true),
            ("\n", false),
            ("", false),
            ("n\n", false),
            ("yes please\n", false),
            ("no\ny\n", false),
        ] {
            let mut said = Vec::new();
            let found = asked("Really?", &mut answer.as_bytes(), &mut said).unwrap();
            assert_eq!((found, said.as_slice()), (is_yes, &b"Really? [y/N] "[..]), "{answer:?}");
        }
    }
}
