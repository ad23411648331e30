//! How often rollouts of good releases stop by themselves, and how soon those of bad ones: the rule of `fleet`, asked after each
//! device, in simulated rollouts. The yardstick is a rule of fixed numbers, on the same rollouts.

use fleet::rollout::{HaltAt, Percent, Step, step_sizes};
use serde::Serialize;

use crate::output;

const DEVICES: u64 = 10_000;
const PERCENTS: [f64; 4] = [1.0, 10.0, 50.0, 100.0];
/// What fails anyhow, and what a bad release does.
const BACKGROUND: f64 = 0.03;
const BAD: f64 = 0.10;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many rollouts of each kind
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rollouts: u32,
    /// Another one simulates other rollouts
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print data for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Measured {
    what: &'static str,
    /// Of the rollouts, how many stopped by themselves.
    halted_percent: f64,
    /// Failures until then: of half of those that stopped, of 95 in 100, of all.
    median: u64,
    most_of_95: u64,
    most: u64,
}

pub(super) fn run(args: &Args) {
    let test = HaltAt::default();
    let fixed: HaltAt = serde_json::from_str(r#"{"failed_percent":5,"min_count":3}"#).expect("a rule");
    let sizes = sizes();
    let measure = |what, rule: &HaltAt, rates: &[f64]| {
        let mut random = Random(args.seed);
        let mut failures: Vec<u64> =
            (0..args.rollouts).filter_map(|_| simulate(rule, &sizes, rates, &mut random)).collect();
        failures.sort_unstable();
        let at = |part: usize| failures.get((failures.len() * part).div_ceil(100).saturating_sub(1)).copied();
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let halted_percent = failures.len() as f64 * 100.0 / f64::from(args.rollouts);
        let [median, most_of_95, most] = [50, 95, 100].map(|part| at(part).unwrap_or_default());
        Measured { what, halted_percent, median, most_of_95, most }
    };
    let measured = [
        measure("fixed numbers (5 %, 3 failures): good release, 3 % fail", &fixed, &[BACKGROUND; 4]),
        measure("good release, 3 % fail", &test, &[BACKGROUND; 4]),
        measure("bad release, 10 % fail", &test, &[BAD; 4]),
        measure("fails on 10 % from the third step on", &test, &[BACKGROUND, BACKGROUND, BAD, BAD]),
        measure("fails everywhere", &test, &[1.0; 4]),
    ];
    if args.json {
        return output::json(&measured);
    }
    output::table(
        ["WHAT", "HALTED", "FAILURES: MEDIAN", "95 IN 100", "MOST"],
        measured.iter().map(|row| {
            let halted = format!("{:.3} %", row.halted_percent);
            let of = [row.median, row.most_of_95, row.most].map(|failures| failures.to_string());
            let [median, most_of_95, most] = of;
            [row.what.to_owned(), halted, median, most_of_95, most]
        }),
    );
}

fn sizes() -> Vec<u64> {
    let percent = |percent: &f64| Percent::try_from(*percent).expect("a percent");
    let steps: Vec<Step> = PERCENTS.iter().map(|one| Step { percent: percent(one), soak_s: 0 }).collect();
    step_sizes(&steps, DEVICES)
}

/// After how many failures, of those in the step that fails where it does, it stopped; `None` if all was done. What counts
/// against a release only grows with a failure, so that it is asked after each of those.
fn simulate(rule: &HaltAt, sizes: &[u64], rates: &[f64], random: &mut Random) -> Option<u64> {
    let mut ended = vec![(0, 0); sizes.len()];
    let worst = rates.iter().copied().fold(0.0, f64::max);
    let mut failures = 0;
    for (step, (size, rate)) in sizes.iter().zip(rates).enumerate() {
        let mut left = *size;
        loop {
            let well = random.until_failure(*rate).min(left);
            ended[step].0 += well;
            left -= well;
            if left == 0 {
                break;
            }
            left -= 1;
            ended[step].1 += 1;
            failures += u64::from((*rate - worst).abs() < f64::EPSILON);
            if rule.verdict("", &ended).is_some() {
                return Some(failures);
            }
        }
    }
    None
}

/// Numbers that are random enough (SplitMix64), and the same for the same seed.
struct Random(u64);

impl Random {
    /// Between 0 and 1, and neither.
    fn part(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let high = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or_default();
        (f64::from(high) + 0.5) / (f64::from(u32::MAX) + 1.0)
    }

    /// How many are well before the next one that fails.
    fn until_failure(&mut self, rate: f64) -> u64 {
        if rate >= 1.0 {
            return 0;
        }
        let well = self.part().ln() / (1.0 - rate).ln();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and a float's cast saturates"
        )]
        let well = well as u64;
        well
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bars that the defaults are chosen for; `updraft bench halt` simulates more.
    #[test]
    fn good_releases_are_not_halted_and_bad_ones_are_soon() {
        let (rule, sizes) = (HaltAt::default(), sizes());
        let halted = |rates: [f64; 4], seed| {
            let mut random = Random(seed);
            let mut failures: Vec<u64> =
                (0..2_000).filter_map(|_| simulate(&rule, &sizes, &rates, &mut random)).collect();
            failures.sort_unstable();
            failures
        };
        let good = halted([BACKGROUND; 4], 7).len();
        assert!(good <= 10, "{good} of 2,000 good releases were halted");
        let bad = halted([BAD; 4], 8);
        assert_eq!(bad.len(), 2_000);
        assert!(bad[1_900] <= 25, "95 % of bad releases took {} failures", bad[1_900]);
        let everywhere = halted([1.0; 4], 9);
        assert_eq!((everywhere.len(), everywhere[0], everywhere[1_999]), (2_000, 3, 3));
    }
}
