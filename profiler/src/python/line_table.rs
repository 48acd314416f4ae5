//! From an instruction to its source line, by a code object's line table. Pure.

use super::layout::LineTable;

/// The line of the instruction at byte `offset` of a function that begins in `first_line`; 0 where the table names none.
pub fn line_at(kind: LineTable, table: &[u8], first_line: i32, offset: u64) -> i32 {
    match kind {
        LineTable::Lnotab => lnotab(table, first_line, offset),
        LineTable::Pep626 => pep626(table, first_line, offset),
        LineTable::Locations => locations(table, first_line, offset).unwrap_or(0),
    }
}

/// `Objects/lnotab_notes.txt` of CPython 3.9: pairs of an unsigned byte delta and a signed line delta.
fn lnotab(table: &[u8], first_line: i32, offset: u64) -> i32 {
    let mut start = 0;
    let mut line = first_line;
    for pair in table.chunks_exact(2) {
        start += u64::from(pair[0]);
        if start > offset {
            break;
        }
        line += i32::from(pair[1].cast_signed());
    }
    line
}

/// `Objects/lnotab_notes.txt` of CPython 3.10: each pair is a range of bytes and its line's delta; -128 is no line.
fn pep626(table: &[u8], first_line: i32, offset: u64) -> i32 {
    let mut end = 0;
    let mut line = first_line;
    for pair in table.chunks_exact(2) {
        end += u64::from(pair[0]);
        let delta = pair[1].cast_signed();
        if delta != -128 {
            line += i32::from(delta);
        }
        if offset < end {
            return if delta == -128 { 0 } else { line };
        }
    }
    line
}

/// `Objects/locations.md` of CPython 3.11: entries that begin with a byte whose top bit is set.
fn locations(table: &[u8], first_line: i32, offset: u64) -> Option<i32> {
    let mut bytes = table.iter().copied();
    let mut end = 0;
    let mut line = first_line;
    loop {
        let head = bytes.next()?;
        let units = u64::from(head & 7) + 1;
        let (delta, columns) = match (head >> 3) & 15 {
            0..=9 => (0, 1),
            10..=12 => (i32::from((head >> 3) & 15) - 10, 2),
            13 => (signed_varint(&mut bytes)?, 0),
            14 => {
                let delta = signed_varint(&mut bytes)?;
                for _ in 0..3 {
                    varint(&mut bytes)?;
                }
                (delta, 0)
            }
            _ => {
                end += 2 * units;
                if offset < end {
                    return None;
                }
                continue;
            }
        };
        for _ in 0..columns {
            bytes.next()?;
        }
        line = line.checked_add(delta)?;
        end += 2 * units;
        if offset < end {
            return Some(line);
        }
    }
}

/// Six bits a byte, the lowest first; bit 6 says that more follow.
fn varint(bytes: &mut impl Iterator<Item = u8>) -> Option<u32> {
    let mut value = 0;
    let mut shift = 0;
    loop {
        let byte = bytes.next()?;
        value |= u32::from(byte & 63).checked_shl(shift)?;
        if byte & 64 == 0 {
            return Some(value);
        }
        shift += 6;
    }
}

/// The lowest bit is the sign.
fn signed_varint(bytes: &mut impl Iterator<Item = u8>) -> Option<i32> {
    let value = varint(bytes)?;
    let magnitude = (value >> 1).cast_signed();
    Some(if value & 1 == 1 {
        -magnitude
    } else {
        magnitude
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // `def f(a):` in line 10, `b = a` in 11, three lines of comment, `return b` in 15, as each version compiles it
    // (`f.__code__.co_lnotab`, `co_linetable`).

    #[test]
    fn lnotab_counts_up_to_the_offset() {
        let table = [0, 1, 4, 4];
        let lines = [0, 2, 4, 6].map(|offset| line_at(LineTable::Lnotab, &table, 10, offset));
        assert_eq!(lines, [11, 11, 15, 15]);
        assert_eq!(line_at(LineTable::Lnotab, &[4, 0xff], 10, 4), 9);
    }

    #[test]
    fn pep_626_has_ranges() {
        let table = [4, 1, 2, 0x80, 4, 4];
        let lines = [0, 2, 4, 6, 8].map(|offset| line_at(LineTable::Pep626, &table, 10, offset));
        assert_eq!(lines, [11, 11, 0, 15, 15]);
    }

    #[test]
    fn locations_of_every_kind() {
        let table = [
            0x80,
            0, // short, one unit: line 10
            0xd8 | 1,
            4,
            9,              // one line on, two units: line 11
            0x80 | 15 << 3, // no location, one unit
            0x80 | 13 << 3,
            8, // no columns, four lines on: line 15
            0x80 | 14 << 3,
            5,
            0,
            1,
            1, // long, two lines back: line 13
        ];
        let lines = [0, 2, 4, 6, 8, 10, 12].map(|at| line_at(LineTable::Locations, &table, 10, at));
        assert_eq!(lines, [10, 11, 11, 0, 15, 13, 0]);
    }

    #[test]
    fn a_broken_table_names_no_line() {
        let endless = [0x80 | 14 << 3, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40];
        assert_eq!(line_at(LineTable::Locations, &endless, 10, 0), 0);
        assert_eq!(line_at(LineTable::Locations, &[], 10, 0), 0);
    }
}
