//! The kernel's symbols, from `/proc/kallsyms`.
//!
//! The kernel shows zeros in place of addresses to those who may not see them (`kptr_restrict`); then no
//! address has a name here.

use std::io;

/// Kernel symbols ordered by address.
#[derive(Debug, Default)]
pub struct Kallsyms {
    symbols: Vec<(u64, String)>,
}

impl Kallsyms {
    /// Reads `/proc/kallsyms`.
    ///
    /// # Errors
    /// When `/proc` is not mounted or the file is hidden.
    pub fn read() -> io::Result<Kallsyms> {
        Ok(Kallsyms::parse(&std::fs::read_to_string("/proc/kallsyms")?))
    }

    /// Reads the text of `/proc/kallsyms`; what is no such line is left out.
    pub fn parse(text: &str) -> Kallsyms {
        let mut symbols: Vec<(u64, String)> = text
            .lines()
            .filter_map(|line| {
                let mut fields = line.split_whitespace();
                let address = u64::from_str_radix(fields.next()?, 16).ok()?;
                let kind = fields.next()?;
                let name = fields.next()?;
                let code = matches!(kind, "t" | "T" | "w" | "W");
                (address != 0 && code).then(|| (address, name.to_owned()))
            })
            .collect();
        symbols.sort_by_key(|(address, _)| *address);
        Kallsyms { symbols }
    }

    /// Whether no address has a name.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The function that holds `address`.
    pub fn find(&self, address: u64) -> Option<&str> {
        let after = self.symbols.partition_point(|(start, _)| *start <= address);
        self.symbols[..after].last().map(|(_, name)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_function_and_hides_behind_zeros() {
        let symbols = Kallsyms::parse(
            "ffffffff81000200 T second\nffffffff81000000 t first\nffffffff81000100 d data\n",
        );
        assert_eq!(symbols.find(0xffff_ffff_8100_01ff), Some("first"));
        assert_eq!(symbols.find(0xffff_ffff_8100_0200), Some("second"));
        assert_eq!(symbols.find(0x1000), None);
        let restricted = Kallsyms::parse("0000000000000000 T first\n0000000000000000 T second\n");
        assert_eq!(restricted.find(0xffff_ffff_8100_0000), None);
    }
}
