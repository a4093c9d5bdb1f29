//! Days of publication: `MON` is each Monday, `MON#2` the second one of each month.

use std::str::FromStr;

use jiff::ToSpan as _;
use jiff::civil::{Date, Weekday};

/// A day that comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day {
    weekday: Weekday,
    /// Which of a month; every one where there is none.
    nth: Option<i8>,
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no day: write `MON` to `SUN`, or `MON#1` to `MON#5`");
        let (name, nth) = match text.split_once('#') {
            Some((name, nth)) => (name, Some(nth.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let weekday = match name {
            "MON" => Weekday::Monday,
            "TUE" => Weekday::Tuesday,
            "WED" => Weekday::Wednesday,
            "THU" => Weekday::Thursday,
            "FRI" => Weekday::Friday,
            "SAT" => Weekday::Saturday,
            "SUN" => Weekday::Sunday,
            _ => return Err(wrong()),
        };
        if nth.is_some_and(|nth: i8| !(1..=5).contains(&nth)) {
            return Err(wrong());
        }
        Ok(Self { weekday, nth })
    }
}

impl Day {
    /// The first such day from `today` on.
    pub(super) fn next(self, today: Date) -> Option<Date> {
        let Some(nth) = self.nth else {
            let ahead = self.weekday.since(today.weekday());
            return today.checked_add(i64::from(ahead).days()).ok();
        };
        let month = today.first_of_month();
        let months = (0..12).filter_map(|ahead| month.checked_add(ahead.months()).ok());
        // Some months have no fifth one.
        months
            .filter_map(|month| month.nth_weekday_of_month(nth, self.weekday).ok())
            .find(|day| *day >= today)
    }
}
