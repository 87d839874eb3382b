//! Tables for people.

use crate::output::say;

/// Columns as wide as their widest cell; numbers to the right.
pub fn print<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    say!("{}", render(head, rows).trim_end());
}

fn render<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |i: usize| {
        rows.iter().map(|row| row[i].chars().count()).chain([head[i].len()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let is_number =
        |cell: &str| !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit() || ".,%-".contains(c));
    let right: [bool; N] =
        std::array::from_fn(|i| !rows.is_empty() && rows.iter().all(|row| is_number(&row[i])));
    let line = |cells: [&str; N]| {
        let mut text = String::new();
        for (i, cell) in cells.into_iter().enumerate() {
            let gap = " ".repeat(widths[i].saturating_sub(cell.chars().count()));
            let padded = if right[i] { format!("{gap}{cell}") } else { format!("{cell}{gap}") };
            text.push_str(&padded);
            text.push_str("  ");
        }
        format!("{}\n", text.trim_end())
    };
    let body = rows.iter().map(|row| line(std::array::from_fn(|i| row[i].as_str())));
    std::iter::once(line(head)).chain(body).collect()
}

/// Bytes as people read them.
pub fn bytes(count: u64) -> String {
    let units = [("TB", 1u64 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)];
    match units.iter().find(|(_, size)| count >= *size) {
        // Sizes on disk are far below 2^53.
        Some((unit, size)) => format!("{:.1} {unit}", count as f64 / *size as f64),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_to_the_right() {
        let rows = [["a".to_string(), "7".to_string()], ["long".to_string(), "1,000".to_string()]];
        assert_eq!(render(["name", "n"], &rows), "name      n\na         7\nlong  1,000\n");
    }

    #[test]
    fn bytes_are_rounded_for_people() {
        assert_eq!([bytes(12), bytes(1 << 20), bytes(3 << 29)], ["12 B", "1.0 MB", "1.5 GB"]);
    }
}
