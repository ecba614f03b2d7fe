//! Where everything goes on a screen of any size.

use ratatui::layout::Rect;

/// Below this nothing can be read, so nothing can be decided.
const MIN_WIDTH: u16 = 24;
const MIN_HEIGHT: u16 = 10;
/// Rows of the list that a small screen keeps.
const FEW_ROWS: u16 = 3;

/// The parts of the screen, top to bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Areas {
    pub(super) whole: Rect,
    pub(super) title: Rect,
    /// The names of the columns, then the requests.
    pub(super) list: Rect,
    /// The line between the list and the detail.
    pub(super) rule: Rect,
    pub(super) detail: Rect,
    pub(super) notice: Rect,
    pub(super) keys: Rect,
}

impl Areas {
    pub(super) fn is_too_small(&self) -> bool {
        self.whole.width < MIN_WIDTH || self.whole.height < MIN_HEIGHT
    }

    /// Requests that the list shows at once.
    pub(super) fn rows(&self) -> usize {
        usize::from(self.list.height.saturating_sub(1))
    }
}

/// The list gets what it needs up to a third of the screen, the detail the rest.
pub(super) fn areas(width: u16, height: u16, requests: usize) -> Areas {
    let most = FEW_ROWS.max(height / 3);
    let rows = u16::try_from(requests).unwrap_or(u16::MAX).clamp(1, most);
    let wanted = [1, rows + 1, 1, u16::MAX, 1, 1];
    let rest = height.saturating_sub(rows + 5);
    let mut y = 0;
    let mut parts = wanted.into_iter().map(|lines| {
        let lines = if lines == u16::MAX { rest } else { lines };
        let lines = lines.min(height.saturating_sub(y));
        let part = Rect::new(0, y, width, lines);
        y += lines;
        part
    });
    let mut next = || parts.next().unwrap_or_default();
    Areas {
        whole: Rect::new(0, 0, width, height),
        title: next(),
        list: next(),
        rule: next(),
        detail: next(),
        notice: next(),
        keys: next(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_usual_terminal_leaves_most_to_the_detail() {
        let areas = areas(80, 24, 3);
        assert_eq!((areas.rows(), areas.detail.height), (3, 16));
        assert_eq!(areas.keys, Rect::new(0, 23, 80, 1));
    }

    proptest! {
        #[test]
        fn parts_never_leave_the_screen_or_overlap(width in 0..300u16, height in 0..200u16, requests in 0..2000usize) {
            let areas = areas(width, height, requests);
            let parts = [areas.title, areas.list, areas.rule, areas.detail, areas.notice, areas.keys];
            let mut y = 0;
            for part in parts {
                prop_assert!(part.y == y && part.width == width);
                y += part.height;
            }
            prop_assert!(y <= height);
            prop_assert!(areas.is_too_small() || areas.detail.height > 0);
        }
    }
}
