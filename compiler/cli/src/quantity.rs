//! Sizes and other large numbers on the command line.

/// Parses a number of bytes such as `512`, `64K`, `64KiB` or `2G`. The units are powers of 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let units = [("K", 10), ("M", 20), ("G", 30), ("T", 40)];
    let short = text.strip_suffix("iB").unwrap_or(text);
    let (number, shift) = match units
        .into_iter()
        .find_map(|(unit, shift)| Some((short.strip_suffix(unit)?, shift)))
    {
        Some(found) => found,
        // `iB` without K, M, G or T is not a unit.
        None => (text, 0),
    };
    let bytes = number.parse::<u64>().ok();
    bytes
        .and_then(|n| n.checked_mul(1 << shift))
        .ok_or_else(|| {
            "expected a number, or a number with K, M, G or T, such as 64M or 64MiB".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("2G"), Ok(2 << 30));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        for wrong in [
            "",
            "G",
            "-1",
            "1.5G",
            "99999999999T",
            "x",
            "5iB",
            "MiB",
            "5MB",
        ] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
