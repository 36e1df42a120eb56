//! Cron schedules as the CronJob controller reads them: five fields, and the next time they match.

use std::collections::BTreeSet;

use jiff::civil::{Weekday, time};
use jiff::{Span, Timestamp, Zoned, tz::TimeZone};

/// A parsed schedule: the values each field admits.
#[derive(Debug)]
pub(super) struct Schedule {
    minutes: BTreeSet<i8>,
    hours: BTreeSet<i8>,
    days: BTreeSet<i8>,
    months: BTreeSet<i8>,
    weekdays: BTreeSet<i8>,
    /// A restricted day of month and a restricted weekday are alternatives.
    either_day: bool,
}

impl Schedule {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<_> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else { return Err(format!("{} fields", fields.len())) };
        Ok(Self {
            minutes: field(minute, 0, 59)?,
            hours: field(hour, 0, 23)?,
            days: field(day, 1, 31)?,
            months: field(month, 1, 12)?,
            weekdays: field(weekday, 0, 7)?.into_iter().map(|day| day % 7).collect(),
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        })
    }

    /// The first whole minute after `after` that matches, within about a year.
    pub(super) fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut at: Zoned = after.to_zoned(zone.clone());
        at = at.with().time(time(at.hour(), at.minute(), 0, 0)).build().ok()?;
        for _ in 0..366 * 24 * 60 {
            at = at.checked_add(Span::new().minutes(1)).ok()?;
            if self.matches(&at) {
                return Some(at.timestamp());
            }
        }
        None
    }

    fn matches(&self, at: &Zoned) -> bool {
        let weekday = match at.weekday() {
            Weekday::Sunday => 0,
            other => other.to_monday_one_offset(),
        };
        let (day, weekday) = (self.days.contains(&at.day()), self.weekdays.contains(&weekday));
        let day = if self.either_day { day || weekday } else { day && weekday };
        self.minutes.contains(&at.minute())
            && self.hours.contains(&at.hour())
            && self.months.contains(&at.month())
            && day
    }
}

/// `*`, `a`, `a-b`, each with `/step`, separated by commas.
fn field(text: &str, min: i8, max: i8) -> Result<BTreeSet<i8>, String> {
    let number = |text: &str| text.parse::<i8>().map_err(|_| format!("`{text}` is no number"));
    let mut values = BTreeSet::new();
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None if range == "*" => (min, max),
            None if step.is_some() => (number(range)?, max),
            None => (number(range)?, number(range)?),
        };
        let step = step.map_or(Ok(1), number)?;
        if first < min || last > max || first > last || step < 1 {
            return Err(format!("`{part}` is outside {min}-{max}"));
        }
        values.extend((first..=last).step_by(usize::try_from(step).unwrap()));
    }
    Ok(values)
}

/// The zone a CronJob names. UTC needs no time-zone files, which a small machine may lack.
pub(super) fn zone(name: &str) -> TimeZone {
    if ["UTC", "Etc/UTC"].contains(&name) { TimeZone::UTC } else { TimeZone::get(name).unwrap() }
}

#[test]
fn schedules_are_read_as_cron_does() {
    let next = |schedule: &str, after: &str| {
        let after: Timestamp = after.parse().unwrap();
        Schedule::parse(schedule).unwrap().next(after, &TimeZone::UTC).unwrap().to_string()
    };
    assert_eq!(next("30 3 * * *", "2026-11-22T03:29:59Z"), "2026-11-22T03:30:00Z");
    assert_eq!(next("30 3 * * *", "2026-11-22T03:30:00Z"), "2026-11-23T03:30:00Z");
    assert_eq!(next("*/20 9-17 * * 1-5", "2026-11-22T00:00:00Z"), "2026-11-23T09:00:00Z"); // the 22nd is a Sunday
    assert_eq!(next("0 0 1 * 0", "2026-11-23T00:00:00Z"), "2026-11-29T00:00:00Z"); // Sunday before the 1st
    assert_eq!(next("0 12 29 2 *", "2027-03-01T00:00:00Z"), "2028-02-29T12:00:00Z");
    for wrong in ["0 99 * * *", "60 * * * *", "* * * *", "0 0 0 * *", "a * * * *", "0 5-3 * * *", "*/0 * * * *"] {
        assert!(Schedule::parse(wrong).is_err(), "{wrong}");
    }
}
