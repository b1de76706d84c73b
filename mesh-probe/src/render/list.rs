//! Lists that do not flood a screen.

/// Joins the first few; says how many more there are.
pub(super) fn few<T: ToString>(items: impl ExactSizeIterator<Item = T>, most: usize) -> String {
    let more = items.len().saturating_sub(most);
    let shown: Vec<String> = items.take(most).map(|item| item.to_string()).collect();
    let shown = shown.join(", ");
    if more == 0 {
        return shown;
    }
    format!("{shown} and {more} more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        assert_eq!(few([1, 2].iter(), 3), "1, 2");
        assert_eq!(few([1, 2, 3, 4].iter(), 2), "1, 2 and 2 more");
    }
}
